"""Builds the fake driver and the fake NVML, once per content of their sources."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["UnavailableError", "build", "real_driver", "signs"]

SOURCES = Path(__file__).parent / "csrc"
_SHARED = ("page.c", "faults.c", "topology.c", "host.c")
_FLAGS = ("-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden")
WARNINGS = ("-Wall", "-Wextra", "-Werror")


class UnavailableError(RuntimeError):
    """The fake driver cannot be had here; the message is the evidence."""


def signs() -> list[str]:
    """Return the paths that only a host with a real driver has; the library looks for the same ones."""
    return re.findall(r'"([^":]+):?"', (SOURCES / "signs.inc").read_text())


def real_driver() -> str | None:
    """Return the sign of a real driver on this host, or None."""
    return next((sign for sign in signs() if Path(sign).exists()), None)


def _digest(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    content = hashlib.sha256(version + " ".join(_FLAGS).encode())
    for source in sorted(SOURCES.iterdir()):
        content.update(source.name.encode() + source.read_bytes())
    return content.hexdigest()[:16]


def _libraries() -> dict[str, list[str]]:
    sources = sorted(path.name for path in SOURCES.glob("*.c"))
    return {
        "libcuda.so.1": [name for name in sources if name != "nvml.c"],
        "libnvidia-ml.so.1": ["nvml.c", *_SHARED],
    }


def _compile(compiler: str, folder: Path) -> None:
    for library, sources in _libraries().items():
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
