"""What the doctor looks at beside the state folder: packages with known faults, devices, the simulator."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard.cli.findings import fail, note, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_gpuguard.cli.findings import Finding
    from pytest_gpuguard.cli.where import Where

__all__ = ["look_at_devices", "look_at_packages", "look_deeper"]

_SHOWN = ("pytest", "pytest-xdist", "filelock", "msgspec", "click")
_CHILD_WITHIN = 120.0


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Return ``"9.2.0rc1"`` as ``(9, 2)``: what known faults are told apart by."""
    parts = text.split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts)


def look_at_packages(_where: Where) -> Iterator[Finding]:
    """Look for versions that have known faults."""
    found = {package: _installed(package) for package in _SHOWN}
    shown = ", ".join(f"{package} {number}" for package, number in found.items() if number)
    yield ok("packages", f"python {platform.python_version()}, {shown}")
    yield from faults_of(found)


def faults_of(found: Mapping[str, str | None]) -> Iterator[Finding]:
    """Return the known faults of packages, given their versions."""
    xdist, pytest = found.get("pytest-xdist"), found.get("pytest")
    if xdist and _numbers(xdist) <= (3, 8):
        yield note(
            "packages",
            f"pytest-xdist {xdist}, with --dist loadscope, loadfile or loadgroup, runs a test that crashes "
            "its worker again and again, or hangs (xdist 1323, 1327, 1378)",
            "leave the plugin active with gpuguard_scheduler = auto: its own scheduler does neither",
        )
        if pytest and _numbers(pytest) >= (9, 2):
            yield note(
                "packages",
                f"with pytest {pytest} and pytest-xdist {xdist}, --dist loadgroup no longer groups anything",
                "leave the plugin active with gpuguard_scheduler = auto: it honours xdist_group",
            )


def look_at_devices(_where: Where) -> Iterator[Finding]:
    """Look for devices as the plugin does: by NVML, without starting CUDA."""
    from pytest_gpuguard.devices.discovery import discover

    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}:
        yield note("devices", "NUMBA_ENABLE_CUDASIM is set: tests run in numba's simulator, not on a device")
    found = discover()
    for number, device in enumerate(found.devices):
        yield ok("devices", f"GPU {number}: {device.name}, {device.total / 2**30:.1f} GiB, {device.uuid}")
    if found.devices:
        if found.evidence:
            yield warn("devices", found.evidence, "see which is right: the budget goes by the first")
        return
    nodes = sorted(path.name for path in Path("/dev").glob("nvidia*"))
    if nodes:
        yield fail(
            "devices",
            f"this host has {', '.join(nodes[:4])}, but no device is found: {found.evidence}",
            "pip install 'pytest-gpuguard[nvidia]'; in a container, give it the driver's libraries",
        )
    else:
        yield note("devices", f"none: {found.evidence}", "tests that need one are skipped, unless simulated")


_SIMULATED = """
from numba import cuda
import numpy

@cuda.jit
def double(x):
    x[cuda.grid(1)] *= 2

x = cuda.to_device(numpy.ones(4))
double[1, 4](x)
assert x.copy_to_host().sum() == 8
print("numba works in its simulator")
"""
_ON_DEVICE = """
from numba import cuda
device = cuda.get_current_device()
free, total = cuda.current_context().get_memory_info()
print(f"{device.name.decode()}: {free >> 20} of {total >> 20} MiB free")
"""
_PROBES = {
    "simulator": ({"NUMBA_ENABLE_CUDASIM": "1"}, _SIMULATED),
    "driver": ({"NUMBA_ENABLE_CUDASIM": "0"}, _ON_DEVICE),
}


def look_deeper(_where: Where) -> Iterator[Finding]:
    """Start CUDA and the simulator, each in a child of its own, which may hang or crash without harm."""
    if _installed("numba") is None:
        yield note("numba", "not installed: neither device nor simulator was tried")
        return
    for about, (variables, source) in _PROBES.items():
        said, good = _child(source, variables)
        if good:
            yield ok(about, said)
        elif about == "simulator":
            yield fail(about, said, "pip install 'pytest-gpuguard[cuda]' into the environment of the tests")
        else:
            yield note(about, said, "on a host without a device that is as it should be")


def _child(source: str, variables: Mapping[str, str]) -> tuple[str, bool]:
    """Return what a child said last, and whether it ended well."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | variables,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_CHILD_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"gave no answer within {_CHILD_WITHIN:g} s", False
    said = done.stdout if done.returncode == 0 else done.stderr
    lines = [line for line in said.splitlines() if any(map(str.isalpha, line))]
    return (lines or [f"ended with {done.returncode} and without a word"])[-1], done.returncode == 0
