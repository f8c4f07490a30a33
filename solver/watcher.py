"""The thread that waits for downloads to finish and copies them to the caller's arrays.

Kept apart from the kernel's module: the simulator replaces names in that one while a kernel runs.
"""

from __future__ import annotations

import itertools
import threading
import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

from solver.errors import SolverClosedError, SolverTimeoutError, WatcherDiedError, WritebackError
from solver.patience import SLICE, Patience
from solver.tasks import Inbox

if TYPE_CHECKING:
    from concurrent.futures import Future

    from solver.tasks import WritebackTask

__all__ = ["Watcher", "WritebackWatcher"]

_NUMBERS = itertools.count(1)


class Watcher(Protocol):
    """What the pipeline needs of a writeback thread."""

    def start(self) -> None:
        """Start the thread; nothing when it runs already."""

    def submit(self, task: WritebackTask) -> Future[None]:
        """Hand over a task and its buffers."""

    def check(self) -> None:
        """Raise what went wrong in the thread since the last call."""

    def wait_all(self, timeout: float | None = None) -> None:
        """Wait until all tasks are finished."""

    def shutdown(self, timeout: float | None = None) -> None:
        """End the thread."""

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
        return error
    return None


def _serve_one(inbox: Inbox) -> bool:
    """Do one task. A function of its own, so that its locals keep no buffers while the thread waits."""
    task = inbox.take()
    if task is None:
        return False
    error = _perform(task, inbox)
    if error is None:
        task.future.set_result(None)
    else:
        # The frames of a kept error would keep the buffers, and with them the pool.
        traceback.clear_frames(error.__traceback__)
        task.future.set_exception(error)
    inbox.done(task.label, error)
    return True


def _serve(inbox: Inbox) -> None:
    while _serve_one(inbox):
        pass


class WritebackWatcher:
    """Finishes tasks in the order of their submission, on one named thread.

    The thread's target is a function of this module that knows the queue of tasks, not the watcher: when the
    watcher is dropped without :meth:`shutdown`, its finaliser tells the thread to end.

    Parameters
    ----------
    name
        Goes into the thread's name.
    patience
        Default for all waits: longest time in seconds without any task being finished.
    """

    def __init__(self, name: str = "batch", patience: float = 60.0) -> None:
        self._inbox = Inbox()
        self._patience = patience
        self._name = f"writeback-{next(_NUMBERS)} ({name})"
        self._thread: threading.Thread | None = None
        self._finalizer = weakref.finalize(self, self._inbox.abandon)

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, once it was started."""
        return self._thread

    def start(self) -> None:
        """Start the thread; nothing when it was started before.

        Raises
        ------
        SolverClosedError
            After :meth:`shutdown`.
        """
        if self._inbox.closing:
            message = f"{self._name} was shut down; open another solver"
            raise SolverClosedError(message)
        if self._thread is None:
            # Daemon: at exit Python joins other threads before any finaliser could tell them to end.
            self._thread = threading.Thread(target=_serve, args=(self._inbox,), name=self._name, daemon=True)
            self._thread.start()

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
        self._inbox.put(task)
        return task.future

    def check(self) -> None:
        """Raise what went wrong in the thread and was not raised yet.

        Raises
        ------
        WritebackError
            When a task failed; its error is the cause.
        WatcherDiedError
            When the thread ended with work left.
        """
        with self._inbox.changed:
            failures, self._inbox.failures = self._inbox.failures, []
            if failures:
                label, error = failures[0]
                more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
                message = f"{label} failed{more}: {error!r}; the results of this solve are incomplete"
                raise WritebackError(message) from error
            if self._inbox.unfinished and not self._alive():
                message = f"{self._name} ended with {self._inbox.unfinished} tasks left; close the solver"
                raise WatcherDiedError(message, self.describe())

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait_all(self, timeout: float | None = None) -> None:
        """Wait until all tasks are finished, then raise what went wrong, as :meth:`check` does.

        Parameters
        ----------
        timeout
            Longest time in seconds without any task being finished; ``None`` for the watcher's own.

        Raises
        ------
        SolverTimeoutError
            When nothing was finished for so long.
        """
        patience = Patience(self._patience if timeout is None else timeout)
        with self._inbox.changed:
            while self._inbox.unfinished:
                if not self._alive():
                    break
                left = patience.left(self._inbox.finished)
                if left <= 0:
                    message = (
                        f"{self._name} finished nothing for {patience.seconds} s with "
                        f"{self._inbox.unfinished} tasks left; look at the event that it waits for"
                    )
                    raise SolverTimeoutError(message, self.describe())
                self._inbox.changed.wait(left)
        self.check()

    def shutdown(self, timeout: float | None = None) -> None:
        """Finish what was submitted and end the thread. May be called again, also after it raised.

        Parameters
        ----------
        timeout
            Longest time in seconds to wait for the end; ``None`` for the watcher's patience.

        Raises
        ------
        SolverTimeoutError
            When the thread still works; it goes on, and so may another call.
        """
        timeout = self._patience if timeout is None else timeout
        self._inbox.close()
        if self._thread is None:
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            message = f"{self._name} did not end within {timeout} s; it goes on: call close() again"
            raise SolverTimeoutError(message, self.describe())
        self._give_up_rest()

    def _give_up_rest(self) -> None:
        """Free what a thread that died left in the queue."""
        with self._inbox.changed:
            rest, self._inbox.queued = list(self._inbox.queued), deque()
            self._inbox.unfinished = 0
        for task in rest:
            task.future.set_exception(WatcherDiedError(f"{self._name} ended before {task.label}"))
            task.loan.release()

    def describe(self) -> str:
        """Return the state of thread and queue for people."""
        with self._inbox.changed:
            queued = [task.label for task in self._inbox.queued]
            lines = [
                f"watcher: {self._name}, thread {'alive' if self._alive() else 'not alive'}",
                f"  tasks: {self._inbox.finished} finished, {self._inbox.unfinished} left",
                f"  waits for: {self._inbox.current or 'nothing'}",
                f"  queued: {', '.join(queued) or 'nothing'}",
            ]
        return "\n".join(lines)
