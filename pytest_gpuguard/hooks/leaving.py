"""The end of the process behind the run: Python waits there for threads that are no daemons, not for ever.

They are named when the run is summed up.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.track.keepers import own
from pytest_gpuguard.track.words import sound
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_gpuguard.track.threads import ThreadSuspect

__all__ = ["see_to_the_end"]

_OFTEN = 0.2
_MOST = 3


def see_to_the_end(
    session: pytest.Session, waited_for: Callable[[], list[ThreadSuspect]], limit: float
) -> str | None:
    """Return what will hold up the end of the process, None if nothing; it is ended ``limit`` seconds later.

    Parameters
    ----------
    session
        Whose exit status is the process's.
    waited_for
        Returns the threads that Python waits for.
    limit
        Seconds that it may wait; 0 for ever.
    """
    found = waited_for()
    if not found:
        return None
    if limit:
        # A raw thread: for one of these Python does not wait.
        _thread.start_new_thread(_end, (session, waited_for, limit))
    until = f"; after {format_seconds(limit)} the process is ended" if limit else ""
    why = "it is no daemon" if len(found) == 1 else "they are no daemons"
    return f"Python waits at exit for {_named(found)}, since {why}{until}"


def _named(found: list[ThreadSuspect]) -> str:
    names = [
        f"{one.title} ({sound(own(one.thread, 'name'))!r}, from {one.birth.test or 'before the first test'})"
        for one in found[:_MOST]
    ]
    more = [f"{len(found) - _MOST} more"] if len(found) > _MOST else []
    return ", ".join(names + more)


def _end(session: pytest.Session, waited_for: Callable[[], list[ThreadSuspect]], limit: float) -> None:
    # Who runs pytest in a process of his own goes on after it: the end begins when the main thread has ended.
    while threading.main_thread().is_alive():
        clock.sleep(_OFTEN)
    end = clock.monotonic() + limit
    while clock.monotonic() < end:
        clock.sleep(_OFTEN)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    waited = f"it waited {format_seconds(limit)} at exit for {_named(waited_for())}"
    os.write(2, f"gpuguard: the process is ended, {waited}\n".encode())
    os._exit(int(session.exitstatus))
