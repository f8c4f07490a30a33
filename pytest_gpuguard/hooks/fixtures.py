"""The fixtures that tests use; without the plugin being active they do the same, without any lease.

Each is a factory. What it gave is taken back at the end of its scope, last one first, whatever happens.
"""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuguard.hooks.leasing import Leasing

__all__ = [
    "gpu_closing",
    "gpu_lease",
    "module_gpu_closing",
    "module_pinned_array",
    "pinned_array",
    "session_gpu_closing",
    "session_pinned_array",
]

_OURS = str(Path(__file__).parent)


def _leasing(request: pytest.FixtureRequest) -> Leasing | None:
    from pytest_gpuguard.hooks.leasing import LEASING

    return request.config.stash.get(LEASING, None)


def _calling_line(request: pytest.FixtureRequest) -> str:
    """Return file and line of the suite's call into this module."""
    frame = sys._getframe(1)  # noqa: SLF001 - one line is wanted, not a stack with its source
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_OURS) or frame.f_code.co_filename == contextlib.__file__
    ):
        frame = frame.f_back
    path, root = Path(frame.f_code.co_filename), request.config.rootpath
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{shown}:{frame.f_lineno}"


@pytest.fixture
def gpu_lease(request: pytest.FixtureRequest) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Claim for a block: ``with gpu_lease(pinned="64 MiB"): ...``, with the keywords of the mark ``gpu``.

    What the test has claimed already is part of it.
    """

    def lease(**arguments: object) -> contextlib.AbstractContextManager[None]:
        from pytest_gpuguard.plan.demand import closest, read

        demand, leasing = closest([read(arguments)]), _leasing(request)
        if leasing is None:
            return contextlib.nullcontext()
        return leasing.uses.block(leasing.desk.host.amounts(demand), _calling_line(request))

    return lease


def _flush() -> None:
    from pytest_gpuguard.devices.trim import trim

    trim()


def _pinned_arrays(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    wide, leasing = request.scope != "function", _leasing(request)
    arrays: list[Any] = []
    with contextlib.ExitStack() as stack:

        def pinned(shape: int | tuple[int, ...], dtype: Any = "float64") -> Any:
            __tracebackhide__ = True
            cuda, nbytes = _numba(), _nbytes(shape, dtype)
            if leasing is not None:
                uses = {"pinned": nbytes, "pinned.regions": 1}
                stack.callback(leasing.uses.take(uses, _calling_line(request), wide=wide))
            try:
                arrays.append(cuda.pinned_array(shape, dtype))
            except cuda.CudaSupportError as error:
                pytest.skip(f"numba finds no device, and its simulator is off: {error}")
            return arrays[-1]

        # In this order: the reference goes, the memory goes, the lease goes.
        yield pinned
        arrays.clear()
        if leasing is None:
            _flush()


def _numba() -> Any:
    try:
        from numba import cuda
    except ImportError as error:
        pytest.skip(f"page-locked memory comes from numba, which cannot be imported: {error}")
    return cuda


def _nbytes(shape: int | tuple[int, ...], dtype: Any) -> int:
    import numpy as np

    return int(math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize)


@pytest.fixture
def pinned_array(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make page-locked arrays: ``pinned_array(shape, dtype)``, under a lease, freed after the test."""
    yield from _pinned_arrays(request)


@pytest.fixture(scope="module")
def module_pinned_array(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make page-locked arrays that last as long as the module."""
    yield from _pinned_arrays(request)


@pytest.fixture(scope="session")
def session_pinned_array(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make page-locked arrays that last as long as the session."""
    yield from _pinned_arrays(request)


def _closing() -> Iterator[Callable[[Any], Any]]:
    from pytest_gpuguard.track.closing import closing_method

    with contextlib.ExitStack() as stack:

        def closing(obj: Any) -> Any:
            name = closing_method(type(obj))
            if name is None:
                message = (
                    f"{type(obj).__name__} has no close(), shutdown() or the like to be called at the end"
                )
                raise TypeError(message)
            stack.callback(getattr(obj, name), *((None, None, None) if name == "__exit__" else ()))
            return obj

        yield closing


@pytest.fixture
def gpu_closing() -> Iterator[Callable[[Any], Any]]:
    """Return what it is given, closed after the test: ``solver = gpu_closing(Solver())``."""
    yield from _closing()


@pytest.fixture(scope="module")
def module_gpu_closing() -> Iterator[Callable[[Any], Any]]:
    """Return what it is given, closed at the end of the module."""
    yield from _closing()


@pytest.fixture(scope="session")
def session_gpu_closing() -> Iterator[Callable[[Any], Any]]:
    """Return what it is given, closed at the end of the session."""
    yield from _closing()
