"""What the pipeline hands to its writeback thread, and the queue in between."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from solver.arrays import Loan
    from solver.device import Event

__all__ = ["Inbox", "WritebackTask"]


class WritebackTask:
    """Buffers to give back once an event has come, and what to copy from them before.

    Parameters
    ----------
    label
        What it is, such as ``"download of chunk 3"``.
    event
        When the buffers' contents are there, or no longer needed.
    loan
        The buffers.
    copy
        Called with the loan after the event; ``None`` when there is nothing to keep.
    """

    def __init__(
        self, label: str, event: Event, loan: Loan, copy: Callable[[Loan], None] | None = None
    ) -> None:
        self.label = label
        self.event = event
        self.loan = loan
        self.future: Future[None] = Future()
        self._copy = copy

    def finish(self) -> None:
        """Copy and give the buffers back, whatever the copying does."""
        try:
            if self._copy is not None:
                self._copy(self.loan)
        finally:
            self.loan.release()


class Inbox:
    """What the thread and its watcher share. It knows neither, so the thread keeps no watcher alive."""

    def __init__(self) -> None:
        # A condition's own lock is re-entrant: abandon() may be called by the garbage collector while this
        # very thread is inside one of these blocks.
        self.changed = threading.Condition()
        self.queued: deque[WritebackTask] = deque()
        self.unfinished = 0
        self.finished = 0
        self.failures: list[tuple[str, BaseException]] = []
        self.current = ""
        self.closing = False
        self.abandoned = False

    def put(self, task: WritebackTask) -> None:
        """Add a task."""
        with self.changed:
            self.queued.append(task)
            self.unfinished += 1
            self.changed.notify_all()

    def take(self) -> WritebackTask | None:
        """Wait for the next task in order of submission; ``None`` when there will be none."""
        with self.changed:
            while not self.queued:
                if self.closing or self.abandoned:
                    return None
                # Without a limit: a thread with nothing to do is woken by put, close or the finaliser.
                self.changed.wait()
            task = self.queued.popleft()
            self.current = f"{task.label} ({task.event!r})"
            return task

    def done(self, label: str, error: BaseException | None) -> None:
        """Count a task as finished, with its error if it had one."""
        with self.changed:
            self.unfinished -= 1
            self.finished += 1
            self.current = ""
            if error is not None:
                self.failures.append((label, error))
            self.changed.notify_all()

    def close(self) -> None:
        """Let the thread end once the queue is empty."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()

    def abandon(self) -> None:
        """Let it end at once: nobody waits any more."""
        with self.changed:
            self.abandoned = True
            self.changed.notify_all()
