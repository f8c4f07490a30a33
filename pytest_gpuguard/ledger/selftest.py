"""Do locks exclude here? Some file systems accept every lock and keep none.

Docker Desktop's shares, Kata's default mounts and some FUSE layers grant two exclusive locks on one file.
So the file system's type is looked up (known good ones pass without a word), and in any case a lock taken
through one descriptor must be seen through a second one.
"""

from __future__ import annotations

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

__all__ = ["KNOWN_GOOD", "check_mutex", "check_ranges", "filesystem_of"]

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


class _Opened:
    """A descriptor that closes."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.fd = folder.open_file(name)

    def close(self) -> None:
        os.close(self.fd)
