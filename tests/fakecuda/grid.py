"""What ``cuda`` means inside a kernel that runs on the host, one thread after another."""

from __future__ import annotations

import ctypes
import itertools
import types as pytypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda, njit
from numba.core import types
from numba.core.extending import overload
from numba.cuda.np.numpy_support import as_dtype
from numba.cuda.np.unsafe.ndarray import to_fixed_tuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CompiledGrid", "NotModelledError", "PythonGrid"]

_INDICES = ("threadIdx", "blockIdx", "blockDim", "gridDim")
_STAND_INS = (*_INDICES, "grid", "gridsize", "local", "const", "atomic", "shared", "syncthreads")


class NotModelledError(NotImplementedError):
    """The kernel needs what threads running one after another cannot give."""


class _Dim3:
    """The x, y, z of one of the four indices."""

    def __init__(self) -> None:
        self.x = self.y = self.z = 0

    def stand(self, values: tuple[int, ...]) -> None:
        self.x, self.y, self.z = values


class _Refused:
    """A part of ``cuda`` that cannot be had here."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self) -> NotModelledError:
        return NotModelledError(
            f"cuda.{self._name}: threads run one after another on the host, they cannot meet"
        )

    def __call__(self, *_: object) -> None:
        raise self._refuse()

    def __getattr__(self, name: str) -> Any:
        raise self._refuse()


def _array(shape: Any, dtype: Any) -> np.ndarray:
    return np.empty(shape, as_dtype(dtype) if isinstance(dtype, cuda.types.Type) else dtype)


class _Local:
    """``cuda.local``: memory of one thread."""

    array = staticmethod(_array)


class _Const:
    """``cuda.const``."""

    array_like = staticmethod(np.asarray)


class _Atomic:
    """``cuda.atomic``: with one thread at a time everything is."""

    @staticmethod
    def add(array: np.ndarray, index: Any, value: Any) -> Any:
        old = array[index]
        array[index] += value
        return old

    @staticmethod
    def max(array: np.ndarray, index: Any, value: Any) -> Any:
        old = array[index]
        array[index] = max(old, value)
        return old

    @staticmethod
    def min(array: np.ndarray, index: Any, value: Any) -> Any:
        old = array[index]
        array[index] = min(old, value)
        return old


class _PythonCuda:
    """The namespace for bodies in plain Python; what it lacks is cuda's own (types and the like)."""

    def __init__(self) -> None:
        for name in _INDICES:
            setattr(self, name, _Dim3())
        self.local, self.const, self.atomic = _Local(), _Const(), _Atomic()
        for name in ("syncthreads", "shared", "cg", "syncwarp"):
            setattr(self, name, _Refused(name))

    def grid(self, ndim: int) -> Any:
        """Position of this thread in the whole grid."""
        at = [
            getattr(self.blockIdx, axis) * getattr(self.blockDim, axis) + getattr(self.threadIdx, axis)
            for axis in "xyz"[:ndim]
        ]
        return at[0] if ndim == 1 else tuple(at)

    def gridsize(self, ndim: int) -> Any:
        """Extent of the whole grid."""
        extent = [getattr(self.gridDim, axis) * getattr(self.blockDim, axis) for axis in "xyz"[:ndim]]
        return extent[0] if ndim == 1 else tuple(extent)

    def __getattr__(self, name: str) -> Any:
        return getattr(cuda, name)


class PythonGrid:
    """Bodies in plain Python."""

    def __init__(self) -> None:
        self.cuda: Any = _PythonCuda()
        # `from numba.cuda import grid` and the like.
        self.stubs: dict[int, Any] = {
            id(getattr(cuda, name)): getattr(self.cuda, name) for name in _STAND_INS
        }
        self.stubs[id(to_fixed_tuple)] = lambda array, length: tuple(array[:length])

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return function

    def loop(self, function: Callable[..., Any]) -> Callable[..., None]:
        """Return the function that runs ``function`` for every thread of a launch."""

        def launch(grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
            self.cuda.gridDim.stand(grid)
            self.cuda.blockDim.stand(block)
            with np.errstate(all="ignore"):
                for at_block in itertools.product(*map(range, grid[::-1])):
                    self.cuda.blockIdx.stand(at_block[::-1])
                    for at_thread in itertools.product(*map(range, block[::-1])):
                        self.cuda.threadIdx.stand(at_thread[::-1])
                        function(*arguments)

        return launch


def _grid(ndim: int) -> Any:
    """Stand for ``cuda.grid`` where numba compiles for the CPU."""


def _gridsize(ndim: int) -> Any:
    """Stand for ``cuda.gridsize`` where numba compiles for the CPU."""


def _bind(library: Any) -> tuple[Any, Any]:
    """Return the driver's functions that tell and set where in the launch this thread stands."""
    place, stand = library.fakecuda_place, library.fakecuda_stand
    place.argtypes, place.restype = (ctypes.c_int64,), ctypes.c_int64
    stand.argtypes, stand.restype = (ctypes.c_int64, ctypes.c_int64), None
    return place, stand


def _overload_positions(place: Any) -> None:
    def per_dimension(one: Any) -> Any:
        def choose(ndim):  # numba compares this signature with that of what it returns
            if not isinstance(ndim, types.IntegerLiteral):
                return None
            return {
                1: lambda ndim: one(0),
                2: lambda ndim: (one(0), one(1)),
                3: lambda ndim: (one(0), one(1), one(2)),
            }[ndim.literal_value]

        return choose

    position = njit(lambda axis: place(3 + axis) * place(6 + axis) + place(axis))
    extent = njit(lambda axis: place(9 + axis) * place(6 + axis))
    overload(_grid, prefer_literal=True)(per_dimension(position))
    overload(_gridsize, prefer_literal=True)(per_dimension(extent))


_bound: list[Any] = []


class CompiledGrid:
    """Bodies compiled for the CPU: for kernels that ask ``cuda`` for nothing but `grid` and `gridsize`."""

    def __init__(self, library: Any) -> None:
        if not _bound:
            _bound.extend(_bind(library))
            _overload_positions(_bound[0])
        self._stand = _bound[1]
        self.cuda: Any = pytypes.ModuleType("hostgrid")
        self.cuda.grid, self.cuda.gridsize = _grid, _gridsize
        self.stubs: dict[int, Any] = {id(cuda.grid): _grid, id(cuda.gridsize): _gridsize}

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile for the CPU."""
        compiled: Callable[..., Any] = njit(function)
        return compiled

    def loop(self, function: Callable[..., Any]) -> Callable[..., None]:
        """Return the function that runs ``function`` for every thread of a launch, without the GIL."""
        stand = self._stand

        @njit(nogil=True, error_model="numpy")
        def launch(grid: Any, block: Any, *arguments: Any) -> None:
            for axis in range(3):
                stand(6 + axis, block[axis])
                stand(9 + axis, grid[axis])
            for flat_block in range(grid[0] * grid[1] * grid[2]):
                stand(3, flat_block % grid[0])
                stand(4, flat_block // grid[0] % grid[1])
                stand(5, flat_block // (grid[0] * grid[1]))
                for flat in range(block[0] * block[1] * block[2]):
                    stand(0, flat % block[0])
                    stand(1, flat // block[0] % block[1])
                    stand(2, flat // (block[0] * block[1]))
                    function(*arguments)

        return launch
