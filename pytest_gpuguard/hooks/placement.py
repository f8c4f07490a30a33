"""Gives each worker its devices before anything in it can import CUDA: by the environment it starts with.

A replacement is made from the same specification as the worker that died, so it gets the same devices.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.devices.discovery import shareable
from pytest_gpuguard.devices.trim import simulated, started
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.hooks.cache import folder_in_cache
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.plan.placement import chosen, distribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.devices.discovery import Device

__all__ = ["Placement", "place_here", "shared_out"]

_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Caches of compiled kernels that processes damage or hold up for each other when they share them.
_CACHES = ("CUDA_CACHE_PATH", "CUPY_CACHE_DIR", "TRITON_CACHE_DIR")


def shared_out(how: str) -> tuple[list[Device], str]:
    """Return the devices to hand out, and else why there are none."""
    if simulated(os.environ.get("NUMBA_ENABLE_CUDASIM")):
        return [], "numba runs its simulator (NUMBA_ENABLE_CUDASIM)"
    found = shareable()
    try:
        return chosen(found.devices, how), found.evidence
    except ValueError as error:
        message = f"GPG501: devices: {error}" + (f" ({found.evidence})" if found.evidence else "")
        raise pytest.UsageError(message) from None


def place_here(how: str) -> str | None:
    """Give this process, in which the tests run, the devices of an explicit list; return what went wrong."""
    if how in {"auto", "isolate", "none"}:
        return None
    devices, why = shared_out(how)
    if not devices:
        return f"devices={how} is not in force: {why}"
    library = started()
    if library is not None:
        return f"devices={how} is not in force: {library} has started CUDA before the tests were collected"
    os.environ[_VISIBLE] = ",".join(device.uuid for device in devices)
    return None


class Placement(Plug):
    """The controller's part.

    Parameters
    ----------
    config
        The run.
    how
        The switch ``devices``.
    notes
        Gets what people should know.
    """

    def __init__(self, config: pytest.Config, how: str, notes: list[str]) -> None:
        self._config, self._how, self._notes = config, how, notes

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        if self._how == "none":
            return
        devices, why = shared_out(self._how)
        # Elsewhere there are other devices; and who has placed a worker by hand knows why.
        here = [spec for spec in specs if spec.popen and not getattr(spec, "via", None)]
        ours = [spec for spec in here if _VISIBLE not in spec.env]
        if len(here) < len(specs):
            self._notes.append(
                f"devices are placed for workers of this host only, not for {len(specs) - len(here)} others"
            )
        try:
            seen = distribute(devices, len(ours), isolate=self._how == "isolate")
        except GuardError as error:
            raise pytest.UsageError(str(error)) from None
        for spec, uuids in zip(ours, seen, strict=False):
            spec.env[_VISIBLE] = ",".join(uuids)
        if seen:
            self._split_caches(here)
            self._say(devices, len(ours))
        elif self._how not in {"auto", "isolate"}:
            self._notes.append(f"devices={self._how} is not in force: {why}")

    def _split_caches(self, specs: Sequence[Any]) -> None:
        kernels = folder_in_cache(self._config, "gpuguard-kernels")
        for name in _CACHES:
            if given := os.environ.get(name):
                base = Path(given)
            elif kernels is not None:
                base = kernels / name.lower()
            else:
                continue
            for number, spec in enumerate(specs):
                spec.env.setdefault(name, str(base / f"worker-{number}"))

    def _say(self, devices: Sequence[Device], workers: int) -> None:
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.get_verbosity() >= 0:
            others = "hidden" if self._how == "isolate" else "behind it"
            shown = ", ".join(f"{device.name} {device.uuid}" for device in devices)
            placed = f"{workers} workers on {len(devices)} device(s)"
            reporter.write_line(f"gpuguard: {placed}, each its own first, others {others}: {shown}")
