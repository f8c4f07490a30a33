"""Builds the fake driver and the fake NVML, once per content of their sources."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["UnavailableError", "build", "real_driver"]

SOURCES = Path(__file__).parent / "csrc"
_SHARED = ("page.c", "faults.c", "topology.c")
_NVML = ("nvml.c",)
_LIBRARIES = {
    "libcuda.so.1": tuple(path.name for path in sorted(SOURCES.glob("*.c")) if path.name not in _NVML),
    "libnvidia-ml.so.1": (*_NVML, *_SHARED),
}
_FLAGS = ("-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden")
WARNINGS = ("-Wall", "-Wextra", "-Werror")


class UnavailableError(RuntimeError):
    """The fake driver cannot be had here; the message is the evidence."""


def real_driver() -> str | None:
    """Return the sign of a real driver on this host, or None.

    The library itself looks for the same signs when it is loaded: this only says so earlier.
    """
    signs = re.findall(r'"([^":]+):?"', (SOURCES / "signs.inc").read_text())
    return next((sign for sign in signs if Path(sign).exists()), None)


def _digest(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    content = hashlib.sha256(version + " ".join(_FLAGS).encode())
    for source in sorted(SOURCES.iterdir()):
        content.update(source.name.encode() + source.read_bytes())
    return content.hexdigest()[:16]


def _compile(compiler: str, folder: Path) -> None:
    for library, sources in _LIBRARIES.items():
        command = [compiler, *_FLAGS, f"-Wl,-soname,{library}", "-o", str(folder / library), *sources, "-lm"]
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")


def build(cache: Path) -> Path:
    """Return a folder that holds ``libcuda.so.1`` and ``libnvidia-ml.so.1``.

    Parameters
    ----------
    cache
        Where builds are kept, one folder for each content of the sources. Any number of processes may build
        at once: each does so on its own and the first to finish moves its result into place.

    Raises
    ------
    UnavailableError
        There is no C compiler, or the host has a real driver.
    RuntimeError
        The sources do not compile.
    """
    sign = real_driver()
    if sign:
        raise UnavailableError(f"a real driver is here ({sign}), and the fake one must not be taken for it")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise UnavailableError(f"no C compiler: '{os.environ.get('CC', 'cc')}' is not on PATH")
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / _digest(compiler)
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as own:
        result = Path(own) / "result"
        result.mkdir()
        _compile(compiler, result)
        try:
            result.rename(folder)
        except OSError:
            # Another process was first; what it built is the same.
            if not folder.is_dir():
                raise
    return folder
