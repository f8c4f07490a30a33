"""Keeps what numba-cuda compiled of the solver's kernels in a folder, for the other children of a test run.

Each takes seconds, and most children compile the same one. numba-cuda's own file cache does the work; but it
takes no function without a file, as the solver's are, and does not look at what a function calls.
"""

from __future__ import annotations

import hashlib
import os
import types
from typing import Any

import numpy as np
from numba.cuda.core.caching import NullCache, _CacheLocator
from numba.cuda.dispatcher import CUDACache, CUDACacheImpl, CUDADispatcher

__all__ = ["FOLDER", "digest", "keep_kernels"]

#: The variable that names the folder; where it is not set, nothing is kept.
FOLDER = "FAKECUDA_KERNELS"

_compile = CUDADispatcher.compile


def keep_kernels() -> None:
    """Look for kernels of this process in the folder before they are compiled."""
    if FOLDER in os.environ:
        CUDADispatcher.compile = _load_or_compile


def _load_or_compile(self: CUDADispatcher, sig: Any) -> Any:
    kernel = self.py_func
    if kernel.__code__.co_filename.startswith("<solver") and isinstance(self._cache, NullCache):
        # By its name a launch finds its kernel: those of two programs must not have the same.
        kernel.__qualname__ = f"{kernel.__qualname__}_{digest(kernel)[:16]}"
        self._cache = _Cache(kernel)
    return _compile(self, sig)


class _Locator(_CacheLocator):
    def __init__(self, function: types.FunctionType) -> None:
        self._digest = digest(function)

    def get_cache_path(self) -> str:
        return os.environ[FOLDER]

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return self._digest

    @classmethod
    def from_function(cls, py_func: types.FunctionType, py_file: str) -> _Locator:
        return cls(py_func)


class _Impl(CUDACacheImpl):
    _locator_classes = (_Locator,)


class _Cache(CUDACache):
    _impl_class = _Impl


def digest(function: types.FunctionType) -> str:
    """Return what only functions have in common that are the same, with all that they call and name."""
    walk = _Walk()
    walk.value(function)
    return walk.told.hexdigest()


class _Walk:
    """Tells a hash of a function and of all that it can reach, once."""

    def __init__(self) -> None:
        self.told, self._seen = hashlib.sha256(), set()

    def value(self, found: Any) -> None:
        found = getattr(found, "py_func", found)
        if isinstance(found, types.FunctionType):
            self._function(found)
        elif isinstance(found, np.ndarray):
            self._tell(found.dtype, found.shape, found.tobytes())
        else:
            self._tell(found)

    def _tell(self, *words: object) -> None:
        self.told.update(repr(words).encode())

    def _function(self, found: types.FunctionType) -> None:
        if id(found) not in self._seen:
            self._seen.add(id(found))
            self._code(found.__code__, found.__globals__)
            for cell in found.__closure__ or ():
                self.value(cell.cell_contents)

    def _code(self, found: types.CodeType, names: dict[str, Any]) -> None:
        self._tell(found.co_code, found.co_names, found.co_varnames)
        for constant in found.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, names)
            else:
                self._tell(constant)
        for name in found.co_names:
            if name in names:
                self.value(names[name])
