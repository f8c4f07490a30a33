"""One step at a time within a claimant, whoever asks: another thread, a finaliser, a signal handler."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Turns"]


class Turns:
    """A lock that other threads wait for, and that notices when its own holder comes back in.

    The second happens when the garbage collector or a signal runs a release in the middle of one of our
    steps; waiting would never end and going on would tear the step, so it is put off until the step is done.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._busy = False
        self._put_off: list[Callable[[], None]] = []

    @contextmanager
    def take(self) -> Iterator[None]:
        """Be alone for the block.

        Raises
        ------
        RuntimeError
            When this thread is alone already.
        """
        with self._lock:
            if self._busy:
                message = (
                    "a budget cannot be claimed from a finaliser or signal handler in the middle of a claim"
                )
                raise RuntimeError(message)
            try:
                self._busy = True
                yield
            finally:
                self._busy = False
        while self._put_off:
            self._put_off.pop()()

    def put_off(self, action: Callable[[], None]) -> bool:
        """Keep ``action`` for later if this thread is in the middle of a step; return whether it is."""
        if not self._lock.acquire(blocking=False):
            return False  # another thread's step: waiting for it is fine
        try:
            if self._busy:
                self._put_off.append(action)
            return self._busy
        finally:
            self._lock.release()
