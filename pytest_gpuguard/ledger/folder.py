"""A folder that is opened once and never looked up again by its full path.

Lock files are attacked by name: a link swapped in after the check, a pipe or a hard link put where a file
should be. So every name here is resolved relative to an open descriptor, without following links, and what
was opened is checked by descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_gpuguard.ledger.errors import LedgerUnsafe

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Folder", "move_above"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that somebody planted must not hang.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def move_above(fd: int, floor: int) -> int:
    """Return a copy of ``fd`` numbered above ``floor`` and close ``fd``; its locks live on.

    A killed process drops its higher descriptors first. With the pipe numbered below the files that
    carry locks, whoever sees the pipe hang up finds the locks already gone.
    """
    if fd > floor:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor + 1)
    os.close(fd)
    return moved


class Folder:
    """An open folder of ours.

    Parameters
    ----------
    fd
        Descriptor of the folder; closed by :meth:`close`.
    path
        Its path, for messages only.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def root(cls, path: Path) -> Folder:
        """Open the folder below which ours are made; it may belong to somebody else, as ``/tmp`` does.

        Raises
        ------
        LedgerUnsafe
            When everybody may rename what others made in it (world-writable without the sticky bit).
        """
        folder = cls(os.open(path, _FOLDER), path)
        mode = os.fstat(folder.fd).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            folder.close()
            message = (
                f"{path} is writable for everybody without the sticky bit (mode {mode & 0o7777:o}): "
                "anybody could swap the budget's files; choose another folder or `chmod +t` this one"
            )
            raise LedgerUnsafe(message)
        return folder

    def enter(self, name: str, *, create: bool = True) -> Folder:
        """Open the folder ``name`` in this one, made with mode 0700 when missing.

        Raises
        ------
        LedgerUnsafe
            When it is a link, belongs to another user, or others may write to it.
        FileNotFoundError
            When it is missing and ``create`` is false.
        """
        path = self.path / name
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self.fd)
        try:
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                message = f"{path} is not a folder but a link or a file; remove it or choose another folder"
                raise LedgerUnsafe(message) from error
            raise
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or info.st_mode & 0o022:
            os.close(fd)
            message = (
                f"{path} belongs to uid {info.st_uid} with mode {info.st_mode & 0o7777:o}; it must be ours "
                f"(uid {os.geteuid()}) and writable for nobody else; choose another folder"
            )
            raise LedgerUnsafe(message)
        return Folder(fd, path)

    def open_file(self, name: str, *, create: bool = False) -> int:
        """Return a descriptor of the plain file ``name``.

        Raises
        ------
        LedgerUnsafe
            When it is a link, a pipe, has a second name, or belongs to somebody else.
        """
        flags = os.O_RDWR | _FILE | (os.O_CREAT if create else 0)
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._unsafe(name, "is a link") from error
            raise
        info = os.fstat(fd)
        problem = _not_plain(info)
        if problem:
            os.close(fd)
            raise self._unsafe(name, problem)
        return fd

    def open_pipe(self, name: str, flags: int) -> int | None:
        """Return a descriptor of the named pipe ``name``; None when there is none, or no pipe of ours.

        A pipe only carries hints, so whatever is wrong with it costs speed, never truth.
        """
        try:
            fd = os.open(name, flags | _FILE, dir_fd=self.fd)
        except OSError:
            return None
        info = os.fstat(fd)
        if stat.S_ISFIFO(info.st_mode) and info.st_uid == os.geteuid():
            return fd
        os.close(fd)
        return None

    def names(self) -> list[str]:
        """Return what lies in the folder."""
        return os.listdir(self.fd)  # noqa: PTH208 - by descriptor

    def alive(self) -> bool:
        """Return whether the folder still has a name."""
        return os.fstat(self.fd).st_nlink > 0

    def close(self) -> None:
        """Close the descriptor, once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _unsafe(self, name: str, problem: str) -> LedgerUnsafe:
        return LedgerUnsafe(f"{self.path / name} {problem}; remove it, or choose another folder or pool")


def _not_plain(info: os.stat_result) -> str:
    if not stat.S_ISREG(info.st_mode):
        return "is not a plain file"
    if info.st_uid != os.geteuid():
        return f"belongs to uid {info.st_uid}, not to us (uid {os.geteuid()})"
    if info.st_nlink > 1:
        return f"has {info.st_nlink} names"
    return ""
