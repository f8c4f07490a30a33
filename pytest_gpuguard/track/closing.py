"""How a thing wants to be closed: the method that its class offers for it."""

from __future__ import annotations

__all__ = ["closing_method"]

_NAMES = ("close", "shutdown", "stop", "terminate", "disconnect")


def closing_method(cls: type) -> str | None:
    """Return the name of the closing method of ``cls``, or None; a bare context manager gives ``"__exit__"``.

    Looked up on the class, so that no property of the suite runs.
    """
    for name in _NAMES:
        if callable(getattr(cls, name, None)):
            return name
    return "__exit__" if callable(getattr(cls, "__exit__", None)) else None
