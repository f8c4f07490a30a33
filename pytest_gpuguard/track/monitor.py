"""The one thread that runs beside the tests."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.forks import around_each_fork, in_each_child
from pytest_gpuguard.track import procfs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Monitor"]

#: Seconds after a look that did not end well.
_AGAIN = 1.0
#: Seconds that a fork waits at most for a look to end, and then for the system to be done with the thread.
_LOOKS_WITHIN, _GOES_WITHIN = 1.0, 0.1


class Monitor:
    """Looks again and again from a thread of its own; asleep nearly always.

    Parameters
    ----------
    looks
        Looks once, given the time in monotonic seconds; returns the seconds until it wants to look again.

    Notes
    -----
    It is a raw thread: in nobody's :func:`threading.enumerate`, so no suite that counts threads sees it.

    Before a fork it ends, and another one begins after it. A child of a process with several threads inherits
    what these have locked, and since 3.12 Python warns of such a fork: that would be a warning by us.
    """

    def __init__(self, looks: Callable[[float], float], clock: Callable[[], float] = clock.monotonic) -> None:
        self._looks, self._clock = looks, clock
        self._wake = threading.Event()
        self._over = False
        self._gone = threading.Event()
        self._tid = 0
        # The threads that are about to fork.
        self._forking: set[int] = set()
        self._coming_back = threading.Lock()
        #: Whether it has begun to look.
        self.running = False
        #: What its last look ended with, if not well: until one does no wait is bounded, so it must be said.
        self.fault: BaseException | None = None

    def start(self) -> None:
        """Look once, here and now, and begin to look from beside, unless it already does."""
        if not self.running:
            self.running = True
            # What is watched can take the GIL before the thread has run at all. And the first look does most:
            # two threads that both have something to do wake each other at each of their system calls, which
            # takes longer than all that they do.
            self._begin(self._look())
            around_each_fork(self._step_aside, self._come_back)
            in_each_child(self._part)

    def _begin(self, pause: float) -> None:
        try:
            _thread.start_new_thread(self._run, (pause,))
        except RuntimeError as fault:  # there can be no more threads
            self.fault = fault
            self._gone.set()

    def alarm(self) -> None:
        """Look at once."""
        self._wake.set()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; wait for it at most ``timeout`` seconds."""
        self._over = True
        self._wake.set()
        if self.running:
            self._gone.wait(timeout)

    def _run(self, pause: float) -> None:
        self._tid = threading.get_native_id()
        try:
            self._wake.wait(pause)
            while not (self._over or self._forking):
                self._wake.clear()
                self._wake.wait(self._look())
        finally:
            self._gone.set()

    def _part(self) -> None:
        # In a child there is no thread, and what was locked may be so for good: nothing here is asked again.
        self._over = True

    def _step_aside(self) -> None:
        if self._over:
            return
        self._forking.add(threading.get_ident())
        self._wake.set()
        if self._gone.wait(_LOOKS_WITHIN):
            procfs.until_one_ends({self._tid}, _GOES_WITHIN)

    def _come_back(self) -> None:
        self._forking.discard(threading.get_ident())
        if self._forking or self._over:
            return
        with self._coming_back:
            # One whose look takes longer than a fork waits for it goes on by itself, or is about to end.
            if self._gone.wait(_GOES_WITHIN):
                self._gone.clear()
                # It looks at once: whoever forks again and again would else be looked at never.
                self._begin(0.0)

    def _look(self) -> float:
        try:
            pause = self._looks(self._clock())
        except BaseException as fault:  # noqa: BLE001 - a test may raise anything
            # By what it has put in the place of something that is asked, perhaps: the next look tells.
            self.fault = fault.with_traceback(None)
            return _AGAIN
        self.fault = None
        return pause
