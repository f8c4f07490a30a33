"""What a thread runs and whom it works for. :mod:`threading` has no public way to either."""

from __future__ import annotations

import functools
import inspect
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["keeper_of", "own", "target_name", "targets"]


#: Bound here: a suite puts something else in the place of the classes, and of what they define.
_Thread, _Timer = threading.Thread, threading.Timer
_PLAIN = {name: vars(_Thread)[name] for name in ("daemon", "ident", "is_alive", "join", "name", "native_id")}


def own(thread: threading.Thread, name: str) -> Any:
    """Return an attribute of a thread as Python defines it, whatever the thread's own class made of that."""
    return _PLAIN[name].__get__(thread)


def targets(thread: threading.Thread) -> list[object]:
    """Return what the thread was given to run: with it what that binds something to, and so on."""
    found = [thread.function if isinstance(thread, _Timer) else getattr(thread, "_target", None)]
    while isinstance(found[-1], functools.partial):
        found.append(found[-1].func)
    return found


def _target_of(thread: threading.Thread) -> Callable[..., object]:
    """Return what the thread runs: its target without what was bound to it, or the ``run`` of its class."""
    target = targets(thread)[-1]
    return target if callable(target) else type(thread).run


def target_name(thread: threading.Thread) -> str:
    """Return ``module:qualname`` of what the thread runs; never its name, which often carries a counter."""
    target: Any = _target_of(thread)
    # Only of a function are these attributes nothing but data: any other callable may compute them.
    named = target if inspect.isroutine(target) or isinstance(target, type) else type(target)
    return f"{getattr(named, '__module__', '?')}:{named.__qualname__}"


def keeper_of(thread: threading.Thread) -> object | None:
    """Return the object that the thread works for, where it can be told, else None.

    That is the object whose method it runs, the callable object that it runs, itself when its class has a
    ``run`` of its own, or the first argument behind a weak reference. :mod:`threading` has no public way
    to it.
    """
    target: Any = _target_of(thread)
    if not inspect.isroutine(target) and not isinstance(target, type):
        return target  # type: ignore[no-any-return]
    bound = getattr(target, "__self__", None)
    if bound is not None and not isinstance(bound, types.ModuleType | type):
        return bound  # type: ignore[no-any-return]
    if type(thread).run is not _Thread.run:
        return thread
    for argument in getattr(thread, "_args", ()):
        if isinstance(argument, weakref.ref) and (alive := argument()) is not None:
            return alive  # type: ignore[no-any-return]
    return None
