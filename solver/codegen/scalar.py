"""`math` for plain Python with the manners of compiled code.

A domain error is NaN, an overflow infinity, and float32 stays float32. Only ``sqrt`` is rounded correctly by
every library: a float32 ``sin`` or ``exp`` may differ in the last bit from the one that compiled code calls.
"""

from __future__ import annotations

import math
from types import BuiltinFunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["python_math", "python_substitute"]


def _ieee(function: Callable[..., float], dtype: np.dtype[Any]) -> Callable[..., Any]:
    real = dtype.type

    def wrapped(*arguments: float) -> Any:
        try:
            return real(function(*arguments))
        except ValueError:
            pole = function.__name__.startswith("log") and arguments[0] == 0.0
            return real(-np.inf if pole else np.nan)
        except OverflowError:
            return real(np.inf)

    return wrapped


def python_math(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return a stand-in for the module `math` whose functions return ``dtype`` and never raise."""
    functions = {n: _ieee(f, dtype) for n, f in vars(math).items() if isinstance(f, BuiltinFunctionType)}
    constants = {name: dtype.type(getattr(math, name)) for name in ("pi", "e", "tau", "inf", "nan")}
    return SimpleNamespace(**functions, **constants)


def python_substitute(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """Return the map that puts the stand-in wherever a function names `math` or one of its functions."""
    stand_in = python_math(dtype)
    functions = {f for f in vars(math).values() if isinstance(f, BuiltinFunctionType)}

    def substitute(value: Any) -> Any:
        if value is math:
            return stand_in
        if isinstance(value, BuiltinFunctionType) and value in functions:
            return getattr(stand_in, value.__name__)
        return value

    return substitute
