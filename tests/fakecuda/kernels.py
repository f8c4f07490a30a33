"""Runs CUDA kernels on the host, where the fake driver would only have recorded them.

A launch carries the kernel's mangled name and its raw argument block. The kernel that numba compiled under
this name says which types these are; its Python source, with ``cuda`` replaced by the host's grid, is run
for one thread after another. So results that go through the driver's path are right, not only timed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import traceback
import types as pytypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda
from numba.cuda import types
from numba.cuda.dispatcher import CUDADispatcher
from numba.cuda.np.numpy_support import as_dtype

from tests.fakecuda.grid import CompiledGrid, NotModelledError, PythonGrid
from tests.fakecuda.kept import keep_kernels
from tests.fakecuda.page import LaunchStruct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.fakecuda.control import Driver

__all__ = ["HostKernels", "NotModelledError", "host_kernel"]

LAUNCH_FAILED = 719

_Body = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(LaunchStruct),
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint32),
)
_Announce = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class _Arguments:
    """Reads typed values off a launch's argument block."""

    def __init__(self, driver: Driver, blocks: Sequence[bytes]) -> None:
        self._driver = driver
        self._blocks = iter(blocks)

    def _int(self) -> int:
        return int.from_bytes(next(self._blocks), "little", signed=True)

    def _scalar(self, dtype: Any) -> Any:
        return np.frombuffer(next(self._blocks), dtype=dtype, count=1)[0]

    def _view(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> np.ndarray:
        if 0 in shape:
            return np.empty(shape, dtype)
        extent = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + dtype.itemsize
        memory = (ctypes.c_char * extent).from_address(self._driver.host_view(address))
        return np.ndarray(shape, dtype, buffer=memory, strides=strides)

    def _array(self, kind: Any) -> np.ndarray:
        """Meminfo, parent, number and size of items, data, then a shape and a stride for each dimension."""
        _, _, _, _, data = (self._int() for _ in range(5))
        shape = tuple(self._int() for _ in range(kind.ndim))
        strides = tuple(self._int() for _ in range(kind.ndim))
        view = self._view(data, shape, strides, as_dtype(kind.dtype))
        return view.view(np.recarray) if isinstance(kind.dtype, types.Record) else view

    def _record(self, kind: Any) -> Any:
        dtype = as_dtype(kind)
        return self._view(self._int(), (1,), (dtype.itemsize,), dtype).view(np.recarray)[0]

    def _tuple(self, kind: Any) -> Any:
        values = [self.read(part) for part in kind]
        named = getattr(kind, "instance_class", None)
        return named(*values) if named else tuple(values)

    def _complex(self, kind: Any) -> Any:
        part = np.float32 if kind == types.complex64 else np.float64
        return as_dtype(kind).type(complex(self._scalar(part), self._scalar(part)))

    def _moment(self, kind: Any) -> Any:
        return self._scalar(np.int64).view(as_dtype(kind))

    def read(self, kind: Any) -> Any:
        """Return the next argument, of numba type ``kind``."""
        for of, reader in (
            (types.Array, self._array),
            (types.Record, self._record),
            (types.BaseTuple, self._tuple),
            (types.Complex, self._complex),
            ((types.NPDatetime, types.NPTimedelta), self._moment),
            (types.EnumMember, lambda kind: kind.instance_class(self.read(kind.dtype))),
            (types.CPointer, lambda _: self._int()),
        ):
            if isinstance(kind, of):
                return reader(kind)
        return self._scalar(as_dtype(kind))


def host_kernel(
    function: Callable[..., None], grid: PythonGrid | CompiledGrid | None = None
) -> Callable[..., None]:
    """Return a function of a launch's grid, block and arguments that runs ``function`` for each thread.

    Parameters
    ----------
    function
        The Python source of a kernel: what was given to ``cuda.jit``. Device functions come along.
    grid
        Stands for ``cuda`` inside the function; plain Python if None.
    """
    chosen = grid or PythonGrid()
    return chosen.loop(_twin(function, chosen, {}))


def _twin(function: Any, grid: PythonGrid | CompiledGrid, made: dict[Any, Any]) -> Any:
    """Return a copy of the function in which `cuda` and device functions are those of the host."""
    if function in made:
        return made[function]

    def host(value: Any) -> Any:
        if value is cuda:
            return grid.cuda
        if isinstance(value, CUDADispatcher):
            return _twin(value.py_func, grid, made)
        return grid.stubs.get(id(value), value)

    names = {**function.__globals__}
    cells = tuple(pytypes.CellType(host(cell.cell_contents)) for cell in function.__closure__ or ())
    copy = pytypes.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, cells or None
    )
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    for name in function.__code__.co_names:
        if name in names:
            names[name] = host(names[name])
    made[function] = grid.compile(copy)
    return made[function]


def _compiled_kernel(name: str) -> tuple[Any, Sequence[Any]] | None:
    """Return the Python source and argument types of the kernel that numba compiled under this name."""
    for found in gc.get_objects():
        # Weak proxies and the like answer isinstance() with an error of their own.
        if type(found) is CUDADispatcher:
            for kernel in list(found.overloads.values()):
                if kernel.entry_name == name:
                    return found.py_func, kernel.argument_types
    return None


class HostKernels:
    """Gives every kernel a body: the Python source from which numba compiled it.

    Parameters
    ----------
    driver
        The fake driver of this process.
    compiled
        Compile the bodies with numba for the CPU; else they run as plain Python, slower but for any kernel.
    sticky
        An error in a body becomes a launch failure (719) of the device, which stays; else that launch ends.

    Notes
    -----
    Threads of a launch run one after another, and one launch at a time. ``syncthreads`` and shared memory
    are refused. Errors of bodies are kept in `errors`. Kernels without known source do nothing and are in
    `unknown`.
    """

    def __init__(self, driver: Driver, *, compiled: bool = False, sticky: bool = True) -> None:
        self._driver = driver
        self._sticky = sticky
        self._grid = CompiledGrid(driver.library) if compiled else PythonGrid()
        self._bodies: dict[str, Any] = {}
        self._named: dict[str, Callable[..., None]] = {}
        self._one_launch = threading.Lock()
        # Kept here: the driver knows only their addresses.
        self._callbacks = _Body(self._run), _Announce(self._find)
        self.errors: list[BaseException] = []
        self.unknown: list[str] = []

    def __enter__(self) -> HostKernels:
        keep_kernels()
        self._driver.library.fakecuda_set_body(*self._callbacks)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.library.fakecuda_set_body(_Body(0), _Announce(0))

    def register(self, name: str, body: Callable[..., None]) -> None:
        """Run ``body(grid, block, *blocks)`` for the kernel of this name; blocks are its arguments' bytes."""
        self._named[name] = body

    def _find(self, mangled: bytes) -> None:
        """Look up the source when a launch is made: when it runs, the kernel may be gone."""
        name = mangled.decode()
        if name not in self._bodies:
            found = None if name in self._named else _compiled_kernel(name)
            self._bodies[name] = found and (host_kernel(found[0], self._grid), found[1])

    def _run(self, mangled: bytes, launch: Any, count: int, parameters: Any, sizes: Any) -> int:
        told = launch.contents
        blocks = [ctypes.string_at(parameters[i], sizes[i]) for i in range(count)]
        try:
            with self._one_launch, _no_collection():
                self._launch(mangled.decode(), tuple(told.grid), tuple(told.block), blocks)
        except BaseException as error:
            # Nobody is above this frame: the error goes on as the device's.
            traceback.print_exc()
            self.errors.append(error)
            return LAUNCH_FAILED if self._sticky else 0
        return 0

    def _launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], blocks: list[bytes]) -> None:
        if name in self._named:
            self._named[name](grid, block, *blocks)
            return
        if self._bodies[name] is None:
            self.unknown.append(name)
            return
        body, kinds = self._bodies[name]
        arguments = _Arguments(self._driver, blocks)
        body(grid, block, *(arguments.read(kind) for kind in kinds))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection inside an operation: finalizers would call the driver, which refuses it there."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
