"""The threads that wait for downloads to finish and copy them to the caller's arrays.

Kept apart from the kernel's module: the simulator replaces names in that one while a kernel runs.
"""

from __future__ import annotations

import itertools
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from solver.devices.clock import SystemClock
from solver.errors import (
    SolverClosedError,
    SolverError,
    SolverTimeoutError,
    WatcherDiedError,
    WritebackError,
    without_frames,
)
from solver.pipeline.patience import SLICE, Patience
from solver.pipeline.tasks import Inbox

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

    from solver.devices.clock import Clock
    from solver.pipeline.tasks import WritebackTask

__all__ = ["Watcher", "WritebackWatcher"]

_NUMBERS = itertools.count(1)


class Watcher(Protocol):
    """What the pipeline needs of its writers."""

    def start(self, writers: int = 1) -> None:
        """Have at least so many threads; nothing when they run already."""

    def bequeath(self, teardown: Callable[[], None]) -> None:
        """Say what the last thread has to do once nobody holds the watcher any more."""

    def submit(self, task: WritebackTask) -> Future[None]:
        """Hand over a task and its buffers."""

    def check(self) -> None:
        """Raise what went wrong in the threads since the last call."""

    def wait_all(self, timeout: float | None = None, check: Callable[[], None] | None = None) -> None:
        """Wait until all tasks are finished."""

    def shutdown(self, timeout: float | None = None) -> None:
        """End the threads."""

    def describe(self) -> str:
        """Return a line or more for people."""


class _Abandoned(Exception):  # noqa: N818 - not an error, only the way out
    """Nobody waits for the tasks any more."""


def _perform(task: WritebackTask, inbox: Inbox) -> BaseException | None:
    try:
        try:
            while not task.event.wait(SLICE):
                if inbox.abandoned:
                    raise _Abandoned
        except BaseException:
            task.loan.release()
            raise
        task.finish()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits; lost, they would wait for ever
        return without_frames(error)
    return None


def _serve_one(inbox: Inbox, writer: str) -> bool:
    """Do one task. A function of its own, so that its locals keep no buffers while the thread waits."""
    task = inbox.take(writer)
    if task is None:
        return False
    error = _perform(task, inbox)
    if error is None:
        task.future.set_result(None)
    else:
        task.future.set_exception(error)
    inbox.done(writer, task.label, error)
    return True


def _serve(inbox: Inbox, writer: str) -> None:
    died = True
    try:
        while _serve_one(inbox, writer):
            pass
        died = False
    finally:
        teardown = inbox.leave(died=died)
        if teardown is not None:
            # What cannot be freed in order within its patience goes with the last reference to it, below.
            with suppress(SolverError):
                teardown()


class WritebackWatcher:
    """Finishes tasks on named threads: each takes the next in order of submission, waits for it, copies.

    The threads' target is a function of this module that knows the queue of tasks, not the watcher: when the
    watcher is dropped without :meth:`shutdown`, its finaliser tells the threads to end.

    Parameters
    ----------
    name
        Goes into the threads' names.
    patience
        Default for all waits: longest time in seconds without any task being finished.
    clock
        By what it waits.
    """

    def __init__(self, name: str = "batch", patience: float = 60.0, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._inbox = Inbox(self._clock)
        self._patience = patience
        self._name = name
        self._number = next(_NUMBERS)
        self._threads: list[threading.Thread] = []
        self._finalizer = weakref.finalize(self, self._inbox.abandon)

    @property
    def thread(self) -> threading.Thread | None:
        """The first thread, once it was started."""
        return self._threads[0] if self._threads else None

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """All that were started."""
        return tuple(self._threads)

    def start(self, writers: int = 1) -> None:
        """Have at least so many threads; nothing when they run already.

        Raises
        ------
        SolverClosedError
            After :meth:`shutdown`.
        """
        if self._inbox.closing:
            raise self._closed()
        while len(self._threads) < writers:
            name = f"writeback-{self._number}.{len(self._threads) + 1} ({self._name})"
            if not self._inbox.enter():
                raise self._closed()
            self._threads.append(self._clock.start(_serve, (self._inbox, name), name))

    def bequeath(self, teardown: Callable[[], None]) -> None:
        """Say what the last thread has to do once nobody holds the watcher any more.

        Parameters
        ----------
        teardown
            Must not hold the watcher, nor anybody who does.
        """
        self._inbox.teardown = teardown

    def submit(self, task: WritebackTask) -> Future[None]:
        """Hand over a task and its buffers; errors of earlier tasks are raised here.

        Raises
        ------
        SolverError
            As :meth:`check` and :meth:`start`; the buffers then stay the caller's.
        """
        self.start()
        self.check()
        # From here on it cannot be cancelled: its buffers must come back.
        task.future.set_running_or_notify_cancel()
        if not self._inbox.put(task):
            raise self._closed()
        return task.future

    def check(self) -> None:
        """Raise what went wrong in the threads and was not raised yet.

        Raises
        ------
        WritebackError
            When a task failed; its error is the cause.
        WatcherDiedError
            When a thread ended with work left.
        """
        with self._inbox.changed:
            failures, self._inbox.failures = self._inbox.failures, []
            if failures:
                label, error = failures[0]
                more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
                message = f"{label} failed{more}: {error!r}; the results of this solve are incomplete"
                raise WritebackError(message) from error
            if self._stuck():
                message = f"{self._label()} ended with {self._inbox.unfinished} tasks left; close the solver"
                raise WatcherDiedError(message, self.describe())

    def _label(self) -> str:
        return f"writeback-{self._number} ({self._name})"

    def _closed(self) -> SolverClosedError:
        return SolverClosedError(f"{self._label()} was shut down; open another solver")

    def _stuck(self) -> bool:
        """Whether there is work that nobody will do, such as what a thread had in hand when it died."""
        return bool(self._inbox.unfinished and (self._inbox.deaths or not self._inbox.writers))

    def wait_all(self, timeout: float | None = None, check: Callable[[], None] | None = None) -> None:
        """Wait until all tasks are finished, then raise what went wrong, as :meth:`check` does.

        Parameters
        ----------
        timeout
            Longest time in seconds without any task being finished; ``None`` for the watcher's own.
        check
            Called at every finished task and now and then; may raise to end the wait.

        Raises
        ------
        SolverTimeoutError
            When nothing was finished for so long.
        """
        patience = Patience(self._patience if timeout is None else timeout, self._clock)
        while self._wait_for_news(patience):
            if check is not None:
                # Outside of the lock: whatever it calls may take others.
                check()
        self.check()

    def _wait_for_news(self, patience: Patience) -> bool:
        """Return whether there is anything left to wait for, after a while if there was."""
        with self._inbox.changed:
            if not self._inbox.unfinished or self._stuck():
                return False
            left = patience.left(self._inbox.finished)
            if left <= 0:
                message = (
                    f"{self._label()} finished nothing for {patience.seconds} s with "
                    f"{self._inbox.unfinished} tasks left; look at the events that it waits for"
                )
                raise SolverTimeoutError(message, self.describe())
            self._inbox.changed.wait(left)
            return True

    def shutdown(self, timeout: float | None = None) -> None:
        """Finish what was submitted and end the threads. May be called again, also after it raised.

        Parameters
        ----------
        timeout
            Longest time in seconds without any task being finished; ``None`` for the watcher's patience.

        Raises
        ------
        SolverTimeoutError
            When threads still work; they go on, and so may another call.
        """
        self._inbox.close()
        patience = Patience(self._patience if timeout is None else timeout, self._clock)
        with self._inbox.changed:
            while self._inbox.writers:
                left = patience.left(self._inbox.finished)
                if left <= 0:
                    message = (
                        f"{self._label()} did not end within {patience.seconds} s; it goes on: "
                        "call close() again"
                    )
                    raise SolverTimeoutError(message, self.describe())
                self._inbox.changed.wait(left)
        for thread in self._threads:
            # Past its last statement: a formality, but then nobody finds it alive.
            thread.join(1.0)
        self._give_up_rest()

    def _give_up_rest(self) -> None:
        """Free what threads that died left in the queue."""
        for task in self._inbox.rest():
            task.future.set_exception(WatcherDiedError(f"{self._label()} ended before {task.label}"))
            task.loan.release()

    def describe(self) -> str:
        """Return the state of threads and queue for people."""
        with self._inbox.changed:
            inbox = self._inbox
            lines = [
                f"watcher: {self._label()}, {inbox.writers} of {len(self._threads)} threads alive",
                f"  tasks: {inbox.finished} finished, {inbox.unfinished} left",
                *(f"  {writer} waits for: {what}" for writer, what in sorted(inbox.current.items())),
                f"  queued: {', '.join(inbox.queued) or 'nothing'}",
            ]
        return "\n".join(lines)
