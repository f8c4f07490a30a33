"""Stacks that are written in C, without the GIL: on a fatal signal, at another process's request, by a timer.

Python has one such timer for each process. pytest's own `faulthandler_timeout` uses it, so ours is armed only
where that is off; a signal needs no timer, and so works beside it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import threading
from typing import TYPE_CHECKING, BinaryIO

from pytest_gpuguard import clock
from pytest_gpuguard.forks import around_each_fork, in_each_child
from pytest_gpuguard.track import procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

__all__ = ["LastWords", "Timer"]

#: Longest time in seconds by which the timer may come late.
_LATER = 5.0
#: Seconds in which the system is done with its thread.
_GOES_WITHIN = 0.05


class LastWords:
    """The file of this process's last words.

    Parameters
    ----------
    path
        The file, which is made.
    """

    def __init__(self, path: Path) -> None:
        # Kept open: the interpreter keeps the number of the descriptor, and has no other way to the file.
        self.file: BinaryIO = path.open("wb", buffering=0)
        #: Makes the interpreter write its stacks; 0 where no signal was free.
        self.signal = 0

    def install(self) -> Callable[[], None]:
        """Be asked by a signal, and be told of fatal ones; return how to end that."""
        # From above: the signal that breaks waits is looked for from below, and neither sees the other's.
        for number in range(getattr(signal, "SIGRTMAX", 1) - 1, getattr(signal, "SIGRTMIN", 1), -1):
            if signal.getsignal(number) in {signal.SIG_DFL, None}:
                faulthandler.register(number, file=self.file, all_threads=True, chain=False)
                self.signal = number
                break
        # pytest's own is enabled by now, and writes where nobody looks when a worker dies.
        faulthandler.enable(file=self.file)

        def uninstall() -> None:
            if self.signal:
                faulthandler.unregister(self.signal)

        return uninstall


class Timer:
    """The one timer of a process, which writes stacks and ends it, even while the GIL is held.

    It is let go around each fork: its thread does not come along, and CPython would have the child wait for
    the end of that thread, at the latest when the child itself ends.

    Parameters
    ----------
    file
        Where the stacks go.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Until when it is armed; 0 when it is not.
        self._deadline = 0.0
        #: Held from before a fork until after it: nobody may arm it anew in between.
        self._forks = threading.Lock()
        self._forked = False
        around_each_fork(self._before_fork, self._after_fork)
        in_each_child(self._part)

    def keep(self, now: float, deadline: float) -> None:
        """Have the process end at ``deadline`` or soon after, unless this is called again before."""
        if deadline <= self._deadline or self._forked:
            return
        if self._forks.acquire(blocking=False):
            try:
                # Each time a thread is started in C, and told from all others: as seldom as hardly matters.
                self._arm(now, deadline + min(_LATER, (deadline - now) / 10))
            finally:
                self._forks.release()

    def _arm(self, now: float, deadline: float) -> None:
        self._deadline = deadline
        faulthandler.dump_traceback_later(max(deadline - now, 0.001), file=self._file, exit=True)

    def lost(self) -> None:
        """Somebody has taken the timer: arm it anew when next asked."""
        self._deadline = 0.0

    def cancel(self) -> None:
        """Let the process live."""
        if self._deadline:
            faulthandler.cancel_dump_traceback_later()
            self._deadline = 0.0

    def _before_fork(self) -> None:
        """Let the timer go."""
        self._forks.acquire(timeout=_LATER)
        if self._deadline:
            threads: Collection[int] = ()
            with contextlib.suppress(OSError):  # a system that does not list them
                threads = procfs.tasks()
            faulthandler.cancel_dump_traceback_later()
            # Or Python would warn of a process with several threads that forks.
            procfs.until_one_ends(threads, _GOES_WITHIN)

    def _after_fork(self) -> None:
        """Arm it anew, in the parent."""
        if self._deadline:
            self._arm(clock.monotonic(), self._deadline)
        self._over()

    def _part(self) -> None:
        # Not in the child, whose end is its own business.
        self._forked, self._deadline = True, 0.0
        self._over()

    def _over(self) -> None:
        with contextlib.suppress(RuntimeError):  # an interrupt came before it was taken
            self._forks.release()
