"""A physical judge of over-commit that knows nothing of the ledger.

There are exactly as many units as the limit, each a byte that one holder alone can lock in a file of its own.
Whoever was granted n must find n of them free: if not, somebody was granted too much, whatever any ledger
says.
"""

from __future__ import annotations

import fcntl
import os
import time

from pytest_gpuguard.ledger.ranges import locked, set_lock, unlock


class OverCommitError(AssertionError):
    """Somebody was granted what is not there."""


class Units:
    """The units of one resource, as one process sees them.

    Parameters
    ----------
    path
        Their file.
    count
        How many there are.
    """

    def __init__(self, path, count):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # Numbered above the ledger's descriptors: at death the units come back before the grant does.
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
        os.close(fd)
        self._count = count

    def take(self, count, patience=8.0):
        """Lock ``count`` units and return their ranges.

        Raises
        ------
        OverCommitError
            When they are not to be found.
        """
        mine = []
        missing = count
        deadline = time.monotonic() + patience
        while missing:
            for start, room in self._gaps(mine):
                length = min(room, missing)
                if length and self._lock(start, length):
                    mine.append((start, length))
                    missing -= length
            if missing and time.monotonic() > deadline:
                self.drop(mine)
                raise OverCommitError(f"{missing} of {count} units are not there")
        return mine

    def drop(self, ranges):
        """Unlock ``ranges``."""
        for start, length in ranges:
            unlock(self._fd, start, length)

    def taken(self):
        """Return how many units others have."""
        return sum(length for _, length in locked(self._fd, 0, self._count))

    def close(self):
        """Let go of everything."""
        os.close(self._fd)

    def _lock(self, start, length):
        try:
            set_lock(self._fd, start, length)
        except BlockingIOError:
            return False
        return True

    def _gaps(self, mine):
        gaps = []
        at = 0
        for start, length in sorted([*locked(self._fd, 0, self._count), *mine]):
            if start > at:
                gaps.append((at, start - at))
            at = max(at, start + length)
        if at < self._count:
            gaps.append((at, self._count - at))
        return gaps
