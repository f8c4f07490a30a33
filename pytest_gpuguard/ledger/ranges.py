"""Open-file-description locks: byte ranges that the kernel drops with the last copy of the descriptor.

Facts they rest on (Linux 3.15 and later): a query never reports locks of the asking description; it
reports *a* conflicting lock, not the lowest, so that enumeration has to look on both sides of each hit;
unlocking a tail shortens the lock; ranges have nothing to do with the file's length or content.
"""

from __future__ import annotations

import fcntl
import struct

__all__ = ["any_locked", "locked", "set_lock", "share_lock", "unlock"]

# struct flock with 64-bit offsets; "0q" pads to the alignment of the widest member.
_FLOCK = struct.Struct("@hhqqi0q")
_WRITE, _READ, _NONE = fcntl.F_WRLCK, fcntl.F_RDLCK, fcntl.F_UNLCK
_SET, _GET = fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK
_fcntl, _pack, _unpack = fcntl.fcntl, _FLOCK.pack, _FLOCK.unpack


def set_lock(fd: int, start: int, length: int) -> None:
    """Lock ``length`` bytes from ``start`` for this open file description alone.

    Raises
    ------
    BlockingIOError
        When another description has a lock there.
    """
    _fcntl(fd, _SET, _pack(_WRITE, 0, start, length, 0))


def share_lock(fd: int, start: int, length: int) -> None:
    """Lock a range that others may lock the same way."""
    _fcntl(fd, _SET, _pack(_READ, 0, start, length, 0))


def unlock(fd: int, start: int, length: int) -> None:
    """Give back whatever of the range this description has locked; nothing happens if that is nothing."""
    _fcntl(fd, _SET, _pack(_NONE, 0, start, length, 0))


def any_locked(fd: int, start: int, end: int) -> bool:
    """Return whether *another* description has a lock that touches ``[start, end)``."""
    if end <= start:
        return False
    found: int = _unpack(_fcntl(fd, _GET, _pack(_WRITE, 0, start, end - start, 0)))[0]
    return found != _NONE


def locked(fd: int, start: int, end: int) -> list[tuple[int, int]]:
    """Return ``(start, length)`` of the locks of *other* descriptions in ``[start, end)``, lowest first."""
    found: list[tuple[int, int]] = []
    todo = [(start, end)]
    while todo:
        low, high = todo.pop()
        kind, _, at, length, _ = _unpack(_fcntl(fd, _GET, _pack(_WRITE, 0, low, high - low, 0)))
        if kind == _NONE:
            continue
        found.append((at, length))
        if at > low:
            todo.append((low, at))
        if at + length < high:
            todo.append((at + length, high))
    if len(found) > 1:
        found.sort()
    return found
