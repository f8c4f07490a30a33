"""Whether a run goes on: until it ends, however it ends, its process holds the lock of a file in its folder.

filelock takes the same lock. It is asked only where the system has no ``fcntl``: every run takes a few of
these locks when it starts, and to import it would take longer than all of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["hold", "taken"]


def hold(path: Path) -> Callable[[], None]:
    """Take the lock for as long as this process lives; return how to give it back.

    Raises
    ------
    OSError
        Also where somebody else has it.
    """
    if sys.platform == "win32":
        from filelock import FileLock

        lock = FileLock(path)
        lock.acquire(blocking=False)
        return lock.release
    return _Held(path).keep()


@contextlib.contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Have the lock inside, if it is free: gives whether it was. The file is made where it is missing.

    Raises
    ------
    OSError
        Where the file may not be opened.
    """
    if sys.platform == "win32":
        from filelock import FileLock, Timeout

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(FileLock(path).acquire(blocking=False))
            except Timeout:
                yield False
                return
            yield True
    else:
        held = None
        with contextlib.suppress(BlockingIOError):
            held = _Held(path)
        try:
            yield held is not None
        finally:
            if held is not None:
                held.release()


if sys.platform != "win32":

    class _Held:
        """A lock that this process has, and no child of it: what a fork copies would hold it on."""

        def __init__(self, path: Path) -> None:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._close()
                raise

        def keep(self) -> Callable[[], None]:
            """Have it until it is given back; return how to do that."""
            os.register_at_fork(after_in_child=self._close)
            return self.release

        def release(self) -> None:
            """Give it back, in the name of all who have a copy; once is enough."""
            if self._fd >= 0:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._close()

        def _close(self) -> None:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
