"""Calls into drivers, which may hang: in a thread of their own, with an end."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["within"]

_Result = TypeVar("_Result")


def within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Return what ``call`` returns, or raise what it raises, if that takes no longer than ``seconds``.

    Raises
    ------
    TimeoutError
        When it takes longer; the call goes on, nobody waits for it.
    """
    done = threading.Event()
    results: list[_Result] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again below, where somebody waits for it
            errors.append(error)
        finally:
            done.set()

    # Not by `threading`: this is no thread of the suite.
    _thread.start_new_thread(work, ())
    if not done.wait(seconds):
        message = f"no answer within {seconds:g} s"
        raise TimeoutError(message)
    if errors:
        raise errors[0]
    return results[0]
