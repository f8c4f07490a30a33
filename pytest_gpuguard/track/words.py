"""What the suite says, in words that survive every way: the suite chooses its names and messages freely."""

from __future__ import annotations

__all__ = ["said", "sound"]

_LONGEST = 2000


def sound(text: str) -> str:
    """Return ``text`` as UTF-8 can carry it, and not endless.

    File names that are no valid text reach thread names and messages as lone surrogates, which neither JSON
    nor the way between two processes takes.
    """
    carried = str(text).encode("utf-8", "backslashreplace").decode()
    return carried if len(carried) <= _LONGEST else f"{carried[:_LONGEST]}... ({len(carried)} characters)"


def said(error: BaseException | None) -> str:
    """Return the type and message of ``error``, also when its own ``__str__`` fails."""
    try:
        message = str(error)
    except Exception as problem:  # noqa: BLE001 - the suite's own code: whatever it raises is not about us
        message = f"(its message cannot be had: {type(problem).__name__})"
    return sound(f"{type(error).__name__}: {message}")
