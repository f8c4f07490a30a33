"""What the pipeline hands to its writers, and the queue in between."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from solver.devices.clock import Clock
    from solver.devices.device import Event
    from solver.pipeline.arrays import Loan

__all__ = ["Inbox", "WritebackTask"]


class WritebackTask:
    """Buffers to give back once an event has come, and what to copy from them before.

    Parameters
    ----------
    label
        What it is, such as ``"download of chunk 3"``.
    event
        When the buffers' contents are there.
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
    """What the writers and their watcher share. It knows no watcher, so its threads keep none alive.

    Attributes
    ----------
    changed
        Guards, and announces changes of, everything below but `abandoned`.
    unfinished, finished
        Tasks.
    queued
        Labels of those that no writer has taken, in order.
    current
        What each writer waits for, by its name.
    writers, deaths
        Threads that serve, and those that ended of an exception.
    abandoned
        Nobody waits for the tasks any more.
    teardown
        What the last writer does when it leaves an abandoned inbox.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed = clock.condition()
        self.unfinished = 0
        self.finished = 0
        self.queued: list[str] = []
        self.current: dict[str, str] = {}
        self.failures: list[tuple[str, BaseException]] = []
        self.writers = 0
        self.deaths = 0
        self.closing = False
        self.abandoned = False
        self.teardown: Callable[[], None] | None = None
        self._mail = clock.mailbox()

    def enter(self) -> bool:
        """Count a writer that is about to be started; false when the inbox is closing."""
        with self.changed:
            self.writers += not self.closing
            return not self.closing

    def put(self, task: WritebackTask) -> bool:
        """Add a task; false when the inbox is closing."""
        with self.changed:
            if self.closing:
                return False
            self.unfinished += 1
            self.queued.append(task.label)
            # Under the lock: after closing there are only the notes that end the writers.
            self._mail.put(task)
        return True

    def take(self, writer: str) -> WritebackTask | None:
        """Wait for the next task in order of submission; ``None`` when there will be none."""
        # Without a limit: a writer with nothing to do is woken by put, close or the finaliser, whose notes
        # cannot be missed.
        task: WritebackTask | None = self._mail.get()
        if task is not None:
            with self.changed:
                self.queued.remove(task.label)
                self.current[writer] = f"{task.label} ({task.event!r})"
        return task

    def done(self, writer: str, label: str, error: BaseException | None) -> None:
        """Count a task as finished, with its error if it had one."""
        with self.changed:
            self.unfinished -= 1
            self.finished += 1
            self.current.pop(writer, None)
            if error is not None:
                self.failures.append((label, error))
            self.changed.notify_all()

    def leave(self, *, died: bool) -> Callable[[], None] | None:
        """Count a writer as gone; return what it has yet to do, if it was the last of an abandoned inbox."""
        with self.changed:
            self.writers -= 1
            self.deaths += died
            self.changed.notify_all()
            if not self.abandoned or self.writers:
                return None
            teardown, self.teardown = self.teardown, None
            return teardown

    def close(self) -> None:
        """Let the writers end once the queue is empty."""
        with self.changed:
            if not self.closing:
                self.closing = True
                self._end_writers()

    def abandon(self) -> None:
        """Let them end at once; called by a finaliser.

        It may run inside any allocation of any thread, also of a writer, and whatever locks that one holds.
        So it takes none, does nothing itself, and leaves notes that no writer can miss.
        """
        self.abandoned = True
        self._end_writers()

    def rest(self) -> list[WritebackTask]:
        """Return the tasks that no writer took; for when there is none any more."""
        tasks = []
        while not self._mail.empty():
            tasks.append(self._mail.get())
        with self.changed:
            self.unfinished = 0
            self.queued.clear()
        return [task for task in tasks if task is not None]

    def _end_writers(self) -> None:
        for _ in range(self.writers):
            self._mail.put(None)
