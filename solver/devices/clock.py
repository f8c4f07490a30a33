"""Time, waiting and threads behind one door, so that a rehearsal can replace all three.

Everything in the solver that waits for another thread or for a device does so through the clock of its
device. In production that is :class:`SystemClock`; :class:`solver.devices.rehearsal.RehearsalClock` runs
the same code in virtual time, one thread at a time.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Clock", "Condition", "Mailbox", "SystemClock"]


class Condition(Protocol):
    """What the solver uses of :class:`threading.Condition`."""

    def __enter__(self) -> object:
        """Take the lock, which is re-entrant."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give it back."""

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back until notified; false when the time was up."""

    def notify_all(self) -> None:
        """Wake all who wait."""


class Mailbox(Protocol):
    """A queue between threads. A finaliser may put into it: that takes no lock and is never forgotten."""

    def put(self, item: Any) -> None:
        """Add an item."""

    def get(self) -> Any:
        """Wait for the next item."""

    def empty(self) -> bool:
        """Whether there is nothing to get."""


class Clock(Protocol):
    """Where the solver takes time from, and by what its threads wait."""

    def now(self) -> float:
        """Return the time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Let at most `seconds` go by."""

    def condition(self) -> Condition:
        """Return a new lock with a condition."""

    def mailbox(self) -> Mailbox:
        """Return a new queue."""

    def start(self, target: Callable[..., None], args: tuple[Any, ...], name: str) -> threading.Thread:
        """Return a daemon thread that was started."""


class SystemClock:
    """Real time and real threads."""

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def condition(self) -> Condition:
        """Return the standard library's."""
        return threading.Condition()

    def mailbox(self) -> Mailbox:
        """Return the only queue of the standard library that a finaliser may use."""
        return queue.SimpleQueue()

    def start(self, target: Callable[..., None], args: tuple[Any, ...], name: str) -> threading.Thread:
        """Start a daemon: at exit Python joins other threads before any finaliser could tell them to end."""
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        return thread
