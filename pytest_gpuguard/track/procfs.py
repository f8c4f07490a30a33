"""What Linux tells of this process: questions that cost a microsecond, and the longer answers."""

from __future__ import annotations

import contextlib
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.forks import in_each_child

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = [
    "Newest",
    "Opened",
    "blocks_signals",
    "changes_of",
    "cpu_seconds",
    "descriptors",
    "exists",
    "mapped",
    "slurp",
    "tasks",
    "until_one_ends",
]

#: All but SIGKILL, SIGSTOP, and the two that the C library keeps to itself.
_ALL_SIGNALS = (1 << 64) - 1 - sum(1 << number - 1 for number in (9, 19, 32, 33))


#: Bound here: tests that are watched put something else in their place, and may fail with that.
_list, _open, _stat = partial(os.listdir), partial(open), partial(os.fstat)


def exists() -> bool:
    """Return whether there is what this module reads."""
    return Path("/proc/self/task").is_dir()


def slurp(path: str) -> str:
    """Return the text of a file, empty when it is gone; nothing is left open for the suite to find."""
    try:
        with _open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def mapped() -> Iterator[tuple[int, int, bool, str]]:
    """Yield start, end, whether it can be executed, and file of each mapping of this process."""
    for line in slurp("/proc/self/maps").splitlines():
        words = line.split(maxsplit=5)
        start, _, end = words[0].partition("-")
        yield int(start, 16), int(end, 16), "x" in words[1], words[5] if len(words) > 5 else ""


def tasks() -> list[int]:
    """Return the threads of this process."""
    return [int(name) for name in _list("/proc/self/task")]


def until_one_ends(threads: Collection[int], within: float) -> None:
    """Wait until one of these threads is counted no more: a moment longer than it has anything to do.

    At most so many seconds, and not where nobody lists threads.
    """
    end = clock.monotonic() + within
    with contextlib.suppress(OSError):
        while set(threads) <= set(tasks()) and clock.monotonic() < end:
            clock.sleep(0.0001)


def descriptors() -> list[int]:
    """Return what this process has open, the descriptor of the question itself too."""
    return [int(name) for name in _list("/proc/self/fd")]


def blocks_signals(tid: int) -> bool:
    """Return whether a thread of this process blocks all signals, by a set that was filled for it."""
    masks = re.search(r"^SigBlk:\s*([0-9a-f]+)$", slurp(f"/proc/self/task/{tid}/status"), re.MULTILINE)
    return masks is not None and int(masks[1], 16) == _ALL_SIGNALS


def cpu_seconds(of: str) -> float | None:
    """Return the CPU time of ``"self/task/TID"`` or of a process by its number; None when it is gone."""
    words = slurp(f"/proc/{of}/schedstat").split()
    return int(words[0]) / 1e9 if words else None


class Opened:
    """One file of ``/proc``, kept open since that makes asking several times as fast.

    Opened again in a forked child: what is kept open there still tells of the parent.
    """

    def __init__(self, path: str, *, folder: bool = False) -> None:
        self._path, self._flags = path, os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECTORY if folder else 0)
        self.fd = os.open(path.format(pid=os.getpid()), self._flags)
        in_each_child(self._again)

    def _again(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                again = os.open(self._path.format(pid=os.getpid()), self._flags)
                # Under the number that it had: whoever asks often has that at hand.
                os.dup2(again, self.fd, inheritable=False)
                os.close(again)

    def size(self) -> int:
        """Return its size: of ``/proc/self/fd``, on kernels that tell, the number of open files."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Close it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def changes_of(fd: int) -> Callable[[], object]:
    """Return what returns the size of an open folder and when it was changed: it differs after a change.

    Times alone are as coarse as the kernel's clock.
    """

    def ask() -> tuple[int, int]:
        state = _stat(fd)
        return state.st_size, state.st_mtime_ns

    return ask


class Newest:
    """The number that the system gave last, to whatever thread or process: while it stays, none has come.

    So one question does for threads and children alike, and unlike a count of them it never hides one that
    came behind one that went. Whoever is adopted gets no number then, and is found at the next look.

    Attributes
    ----------
    pulses
        The question, while it is open and where the system answers it.
    """

    def __init__(self) -> None:
        self.pulses: tuple[Callable[[], object], ...] = ()
        self._users: list[object] = []

    def ask(self) -> object:
        """Return the number; None where nobody tells."""
        return self.pulses[0]() if self.pulses else None

    def open(self) -> Callable[[], None]:
        """Be ready to ask; return how to end that, which the last one to do so does."""
        if not self._users:
            with contextlib.suppress(OSError):  # a kernel without checkpoints
                self._file = Opened("/proc/sys/kernel/ns_last_pid")
                self.pulses = (partial(os.pread, self._file.fd, 32, 0),)
        user = object()
        self._users.append(user)

        def close() -> None:
            self._users.remove(user)
            if not self._users and self.pulses:
                self.pulses = ()
                self._file.close()

        return close
