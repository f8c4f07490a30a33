"""How a thing wants to be closed: the method that its class offers for it."""

from __future__ import annotations

import threading

__all__ = ["closing_method"]

_NAMES = ("close", "shutdown", "stop", "terminate", "disconnect", "cancel")


def _defined(cls: type, name: str) -> object | None:
    return next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)


def closing_method(cls: type) -> str | None:
    """Return the name of the closing method of ``cls``, or None.

    A bare context manager gives ``"__exit__"``, an event ``"set"``.

    Looked up in the dictionaries of the class and its bases, so that no property of the suite runs.
    """
    for name in (*_NAMES, "__exit__"):
        found = _defined(cls, name)
        if callable(found) or isinstance(found, classmethod):
            return name
    # Who waits for nothing but an event ends when that comes.
    return "set" if issubclass(cls, threading.Event) else None
