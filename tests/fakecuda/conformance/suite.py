"""Makes numba-cuda's test modules ready for pytest.

They lie in a namespace package from which pytest cannot work out their names, so each gets a module here that
imports all it has.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["arguments", "missing", "modules", "write_suite"]

SUITE = "numba.cuda.tests.cudadrv"


def missing() -> str | None:
    """Return what has to be installed before the tests can run, or None."""
    needed = ("filecheck", "cffi", "nvidia.cu13")
    absent = [name for name in needed if _spec(name) is None]
    return (
        f"{', '.join(absent)} cannot be imported: install the extras 'compile' and 'conformance'"
        if absent
        else None
    )


def _spec(name: str) -> object:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def modules() -> list[Path]:
    """Return numba-cuda's test modules, without importing numba."""
    found = importlib.util.find_spec("numba_cuda")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("numba-cuda is not installed (extra 'cuda')")
    folder = Path(found.submodule_search_locations[0], "numba", "cuda", "tests", "cudadrv")
    return sorted(folder.glob("test_*.py"))


def write_suite(folder: Path, only: tuple[str, ...] = ()) -> None:
    """Write one module for each of numba-cuda's; ``only`` names modules to take."""
    for name in (path.stem for path in modules()):
        if not only or name in only:
            (folder / f"{name}.py").write_text(f"from {SUITE}.{name} import *\n")


def arguments(folder: Path) -> list[str]:
    """Return pytest's arguments, for the fake lane."""
    plugin = ["-p", "tests.fakecuda.conformance.plugin", "-p", "no:cacheprovider"]
    own = [
        "-c",
        "/dev/null",
        "--rootdir",
        str(folder),
        "--import-mode=importlib",
        "-W",
        "ignore",
        "--timeout=120",
    ]
    return [*plugin, *own, "-rxX", str(folder)]
