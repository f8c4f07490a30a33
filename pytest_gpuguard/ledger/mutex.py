"""One decision at a time: the native lock on our own descriptor, with a bounded, jittered wait.

Not ``FileLock``: it opens the file for each attempt and sleeps a fixed 50 ms between attempts, a hundred
times the length of what is guarded here.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import filelock

from pytest_gpuguard import clock
from pytest_gpuguard.ledger.errors import LedgerBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Mutex", "flock_owners"]

_YIELDS = 2
_FIRST_SLEEP, _LONGEST_SLEEP = 50e-6, 2e-3


class Mutex:
    """The mutex of a pool, as one open file description sees it.

    Parameters
    ----------
    descriptor
        Returns the descriptor of the mutex file, owned by the caller, who may move it; -1 once it is closed.
    where
        Path for messages.
    timeout
        Longest wait in seconds.
    describe
        Says who holds it, for the error.
    """

    def __init__(
        self,
        descriptor: Callable[[], int],
        where: Path,
        *,
        timeout: float = 10.0,
        describe: Callable[[int], str] = lambda _: "",
        monotonic: Callable[[], float] = clock.monotonic,
        sleep: Callable[[float], None] = clock.sleep,
    ) -> None:
        self._descriptor = descriptor
        self._where = where
        self._timeout = timeout
        self._describe = describe
        self._monotonic = monotonic
        self._sleep = sleep

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the mutex for the block.

        Raises
        ------
        LedgerBusy
            When it was not free in time; names the holder.
        """
        # Taking lies inside the try: an interrupt between the kernel's yes and our next line still unlocks,
        # and unlocking what we do not hold does nothing.
        try:
            if not filelock.lock_descriptor(self._descriptor(), blocking=False):
                self._wait()
            yield
        finally:
            fd = self._descriptor()
            if fd >= 0:  # not in a forked child, which has let go of its copy already
                filelock.unlock_descriptor(fd)

    def _wait(self) -> None:
        deadline = self._monotonic() + self._timeout
        attempt = 0
        fd = self._descriptor()
        while not filelock.lock_descriptor(fd, blocking=False):
            attempt += 1
            if attempt <= _YIELDS:
                os.sched_yield()
                continue
            if self._monotonic() > deadline:
                raise self._busy()
            self._sleep(random.random() * min(_LONGEST_SLEEP, _FIRST_SLEEP * 2 ** min(attempt, 8)))

    def _busy(self) -> LedgerBusy:
        return LedgerBusy(
            f"the mutex of {self._where} was not free for {self._timeout:g} s"
            f"{self._describe(self._descriptor())}; "
            "decisions under it take microseconds, so its holder is stopped or the machine is"
        )


def flock_owners(locks: str, info: os.stat_result) -> list[int]:
    """Return the pids that hold a whole-file lock on the file of ``info``.

    Parameters
    ----------
    locks
        Text of ``/proc/locks``; owners in PID namespaces that cannot be seen from here are not in it.
    """
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    found = []
    for line in locks.splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == device and fields[4].isdigit():
            found.append(int(fields[4]))
    return found
