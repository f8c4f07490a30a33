"""A watcher as it should not be, for demonstrations and tests only.

A solver of this kind once made a test suite hang for twelve hours under ``pytest -n 8``. These are its two
defects, so that tools against such hangs can be shown on the real thing. Never use them to compute anything.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from solver.pipeline.watcher import WritebackWatcher as HonestWatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from solver.devices.clock import Clock
    from solver.devices.device import Event
    from solver.pipeline.tasks import WritebackTask
    from solver.pipeline.watcher import Watcher

__all__ = ["DyingWatcher", "Fault", "WritebackWatcher", "make_watcher"]

_PAUSE = 0.001


class Fault(enum.Enum):
    """Which watcher a solver works with.

    Attributes
    ----------
    NONE
        The honest one.
    IMMORTAL
        Its thread keeps it alive for ever, and with it the last task, the pool and all pinned memory. Nothing
        but ``close()`` or ``shutdown()`` ends it. Waits for pinned memory have no limit.
    DIES
        Its thread ends silently of a ``TypeError`` at the first event; whoever waits for it waits for ever.
    """

    NONE = "none"
    IMMORTAL = "immortal"
    DIES = "dies"

    def patience(self, seconds: float) -> float | None:
        """Return the longest wait of a solver with this fault: `seconds`, or ``None`` for none."""
        return seconds if self is Fault.NONE else None


class WritebackWatcher:
    """A polling thread whose target is a method of its owner: the owner lives as long as the thread.

    It bears the name that it had in the suite that hung, since that is what its reports should show.
    """

    def __init__(self) -> None:
        self._queue: deque[WritebackTask] = deque()
        self._waiting: list[WritebackTask] = []
        self._pending = 0
        self._lock = threading.Lock()
        self._stop = False
        self._last: WritebackTask | None = None
        self._thread: threading.Thread | None = None

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, once it was started."""
        return self._thread

    def start(self, writers: int = 1) -> None:
        """Start one thread, never more; nothing when it was started before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll_loop, daemon=True)
            self._thread.start()

    def bequeath(self, teardown: Callable[[], None]) -> None:
        """Forget it at once: nothing ends what is dropped."""

    def submit(self, task: WritebackTask) -> Future[None]:
        """Count and queue a task."""
        self.start()
        with self._lock:
            self._pending += 1
        self._queue.append(task)
        return task.future

    def check(self) -> None:
        """Notice nothing."""

    def wait_all(self, timeout: float | None = None, check: Callable[[], None] | None = None) -> None:
        """Poll until the count of pending tasks is zero, by default without an end; never call `check`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                with self._lock:
                    if self._pending == 0:
                        return
                if deadline is not None and time.monotonic() > deadline:
                    return
                time.sleep(_PAUSE)
            except Exception:  # noqa: BLE001, S110 - the defect: nothing gets a word in
                pass

    def shutdown(self, timeout: float | None = None) -> None:
        """End the thread and let go of what it kept: without this the memory stays taken for ever."""
        self._stop = True
        if self._thread is not None:
            self._thread.join(5.0 if timeout is None else timeout)
        last, self._last = self._last, None
        if last is None:
            return
        for task in [*self._queue, *self._waiting, last]:
            task.loan.release()
        self._queue.clear()
        self._waiting.clear()
        last.loan.pool.close()

    def describe(self) -> str:
        """Return what it believes."""
        return f"watcher: {type(self).__name__}, {self._pending} tasks pending"

    def _poll_loop(self) -> None:
        while not self._stop:
            self._waiting = [task for task in self._waiting if not self._try(task)]
            if self._queue:
                task = self._queue.popleft()
                if not self._try(task):
                    self._waiting.append(task)
            time.sleep(_PAUSE)

    def _try(self, task: WritebackTask) -> bool:
        self._last = task
        if not self._query(task.event):
            return False
        task.finish()
        with self._lock:
            self._pending -= 1
        return True

    def _query(self, event: Event) -> bool:
        return event.query()


class DyingWatcher(WritebackWatcher):
    """An immortal one whose query fails as a newer CUDA binding's did: only ever seen on hardware."""

    def _query(self, event: Event) -> bool:
        message = (
            "Argument 'hEvent' has incorrect type "
            f"(expected cuda.bindings.driver.CUevent, got {type(event).__name__})"
        )
        raise TypeError(message)


def make_watcher(fault: Fault, name: str, patience: float, clock: Clock) -> Watcher:
    """Return the watcher that plays `fault`; the faulty ones live in real time."""
    match fault:
        case Fault.IMMORTAL:
            return WritebackWatcher()
        case Fault.DIES:
            return DyingWatcher()
        case Fault.NONE:
            return HonestWatcher(name, patience, clock)
