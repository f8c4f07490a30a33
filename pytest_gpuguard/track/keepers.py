"""What a thread runs and whom it works for. :mod:`threading` has no public way to either."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["keeper_of", "target_name"]


def _target_of(thread: threading.Thread) -> Callable[..., object]:
    """Return what the thread runs: its target, or the ``run`` of its class."""
    target = thread.function if isinstance(thread, threading.Timer) else getattr(thread, "_target", None)
    return target if callable(target) else type(thread).run


def target_name(target: object) -> str:
    """Return ``module:qualname`` of what a thread runs; never a thread's name, which often carries a counter.

    Parameters
    ----------
    target
        A thread, or the function that a raw thread was given.
    """
    function = _target_of(target) if isinstance(target, threading.Thread) else target
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", "?")
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def keeper_of(thread: threading.Thread) -> object | None:
    """Return the object that the thread works for, where it can be told, else None.

    That is the object whose method it runs, itself when its class has a ``run`` of its own, or the first
    argument behind a weak reference.
    """
    bound = getattr(_target_of(thread), "__self__", None)
    if bound is not None and not isinstance(bound, types.ModuleType | type):
        return bound  # type: ignore[no-any-return]
    if type(thread).run is not threading.Thread.run:
        return thread
    for argument in getattr(thread, "_args", ()):
        if isinstance(argument, weakref.ref) and (alive := argument()) is not None:
            return alive  # type: ignore[no-any-return]
    return None
