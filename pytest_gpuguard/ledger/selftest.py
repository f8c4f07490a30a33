"""Do locks exclude here? Some file systems accept every lock and keep none.

Docker Desktop's shares, Kata's default mounts and some FUSE layers grant two exclusive locks on one file.
So the file system's type is looked up (known good ones pass without a word), and in any case a lock taken
through one descriptor must be seen through a second one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from pytest_gpuguard.ledger.errors import LedgerUnsupported
from pytest_gpuguard.ledger.layout import LEDGER, MUTEX
from pytest_gpuguard.ledger.ranges import any_locked, set_lock, unlock

if TYPE_CHECKING:
    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["KNOWN_GOOD", "check_mutex", "check_ranges", "filesystem_of", "try_everything"]

KNOWN_GOOD = frozenset({"ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"})
# Each participant tests on a place of its own, so that tests at the same time do not meet.
_TEST_PLACES = (1 << 62) + (1 << 61)


def filesystem_of(fd: int, proc: Path = Path("/proc/self")) -> str:
    """Return the type of the file system that ``fd`` lies on, ``""`` when the kernel does not tell.

    By the mount's number: neither device numbers (overlayfs, btrfs) nor paths are unique.
    """
    try:
        info = (proc / "fdinfo" / str(fd)).read_text(encoding="ascii")
        mounts = (proc / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    number = next((line.split()[1] for line in info.splitlines() if line.startswith("mnt_id:")), None)
    for line in mounts.splitlines():
        front, _, back = line.partition(" - ")
        if number is not None and front.split()[:1] == [number] and back:
            return back.split()[0]
    return ""


def check_ranges(folder: Folder) -> None:
    """Lock a byte through one descriptor and look at it through another.

    Raises
    ------
    LedgerUnsupported
        When the second one does not see it, or still sees it afterwards.
    """
    place = _TEST_PLACES + os.urandom(4)[0] + (int.from_bytes(os.urandom(6), "big") << 8)
    with closing(_Opened(folder, LEDGER)) as one, closing(_Opened(folder, LEDGER)) as two:
        try:
            set_lock(one.fd, place, 1)
            seen = any_locked(two.fd, place, place + 1)
            unlock(one.fd, place, 1)
            gone = not any_locked(two.fd, place, place + 1)
        except OSError as error:
            message = f"{folder.path}: byte ranges cannot be locked here ({error.strerror})"
            raise LedgerUnsupported(message) from error
    if not (seen and gone):
        what = "is not seen by another" if not seen else "stays after it was given back"
        message = f"{folder.path}: a range locked by one descriptor {what}"
        raise LedgerUnsupported(message)


def check_mutex(folder: Folder) -> None:
    """Look whether the mutex, which the caller holds, keeps a second descriptor out.

    Raises
    ------
    LedgerUnsupported
        When it does not.
    """
    with closing(_Opened(folder, MUTEX)) as other:
        if filelock.lock_descriptor(other.fd, blocking=False):
            message = f"{folder.path}: two descriptors hold the exclusive lock on {MUTEX} at once"
            raise LedgerUnsupported(message)


def try_everything(folder: Folder) -> None:
    """Try all that a pool needs in an empty folder, between descriptors and between processes.

    Raises
    ------
    LedgerUnsupported
        When something does not exclude.
    """
    for name in (LEDGER, MUTEX):
        os.close(folder.open_file(name, create=True))
    check_ranges(folder)
    with closing(_Opened(folder, MUTEX)) as mutex, closing(_Opened(folder, LEDGER)) as ledger:
        if not filelock.lock_descriptor(mutex.fd, blocking=False):
            message = f"{folder.path}: nobody can take the exclusive lock on {MUTEX}"
            raise LedgerUnsupported(message)
        check_mutex(folder)
        set_lock(ledger.fd, 0, 1)
        fcntl.flock(folder.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseen = _unseen_by_a_child(folder)
    if unseen:
        message = f"{folder.path}: another process does not see our lock on {' and '.join(unseen)}"
        raise LedgerUnsupported(message)


def _unseen_by_a_child(folder: Folder) -> list[str]:
    """Return what a child that opens the files for itself could lock although we have."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = sum(1 << bit for bit, lock in enumerate(_LOCKS.values()) if lock(folder))
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return [name for bit, name in enumerate(_LOCKS) if status < 0 or status & 1 << bit]


def _locks_mutex(folder: Folder) -> bool:
    return bool(filelock.lock_descriptor(folder.open_file(MUTEX), blocking=False))


def _locks_range(folder: Folder) -> bool:
    return not any_locked(folder.open_file(LEDGER), 0, 1)


def _locks_folder(folder: Folder) -> bool:
    try:
        fcntl.flock(
            os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder.fd), fcntl.LOCK_EX | fcntl.LOCK_NB
        )
    except BlockingIOError:
        return False
    return True


_LOCKS = {"the mutex": _locks_mutex, "a range": _locks_range, "the folder": _locks_folder}


class _Opened:
    """A descriptor that closes."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.fd = folder.open_file(name)

    def close(self) -> None:
        os.close(self.fd)
