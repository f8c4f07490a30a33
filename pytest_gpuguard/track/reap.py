"""Stopping what leaked, through its owner, so that the rest of the run has what it held.

Only what could be attributed is touched, and every step is bounded: a close that hangs is left behind.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.closing import closing_method, is_loop
from pytest_gpuguard.track.keepers import own

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["reap_thread"]


def _bounded(call: Callable[[], object], timeout: float) -> str | None:
    """Run ``call`` in a thread of its own; return what went wrong, or None."""
    problems: list[str] = []
    over = threading.Event()

    def run() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the suite's own code: whatever it raises goes into the report
            problems.append(f"raised {type(error).__name__}: {error}")
        finally:
            over.set()

    # A raw thread: were it to hang, it must not be taken for a thread of the suite.
    _thread.start_new_thread(run, ())
    if not over.wait(timeout):
        return f"did not return within {timeout:g} s"
    return problems[0] if problems else None


def _ending(keeper: object) -> str | None:
    if keeper is None:
        return None
    return "stop" if is_loop(type(keeper)) else closing_method(type(keeper), "thread")


def _end(keeper: Any, name: str) -> None:
    if is_loop(type(keeper)):
        # It may sleep in its selector: to be told from another thread it has to be woken.
        keeper.call_soon_threadsafe(keeper.stop)
    else:
        getattr(keeper, name)(*((None, None, None) if name == "__exit__" else ()))


def reap_thread(thread: threading.Thread, keeper: object | None, timeout: float) -> str:
    """Stop ``thread`` through the object that it works for; return what was done, for the report.

    Parameters
    ----------
    thread
        A leaked thread.
    keeper
        The object that it works for, as far as it can be told.
    timeout
        Seconds for the close, and again for the thread's end.
    """
    if not own(thread, "is_alive")():
        return "stopped before its turn: it ended with another one"
    name = _ending(keeper)
    if name is None:
        return "left alone: nothing that closes it could be found"
    call = f"{type(keeper).__name__}.{name}()"
    problem = _bounded(lambda: _end(keeper, name), timeout)
    with contextlib.suppress(RuntimeError):  # a thread cannot join itself
        own(thread, "join")(timeout)
    if own(thread, "is_alive")():
        return f"still alive after {call}" + (f", which {problem}" if problem else "")
    return f"stopped by {call}" + (f", which {problem}" if problem else "")
