"""Append-only journals: one JSON object a line, one file a process, so that a killed process leaves a record.

The file is mapped: to write is to copy in memory, no system call, and what was written is there for others
whatever then happens to the writer. Behind the last line there are zeros; of a process that dies the last
line alone can be torn.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard.forks import in_each_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Journal", "entries"]

#: Bytes by which the file grows; a whole number of pages on every system.
_CHUNK = 1 << 18


class Journal:
    """Writes one file; without one where that cannot be written.

    Parameters
    ----------
    path
        The file; its folder is made. None for no file.
    """

    def __init__(self, path: Path | None) -> None:
        self._page: mmap.mmap | None = None
        self._fd, self._at, self._size = -1, 0, 0
        if path is None:
            return
        # Two that write to one place write over each other.
        in_each_child(self.close)
        try:
            path.parent.mkdir(exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError:  # a full or read-only disk: the record at the end is the loud one
            return

    def write(self, **entry: Any) -> None:
        """Append one entry of plain values."""
        line = _encoded(entry) + b"\n"
        page, begin = self._page, self._at
        end = begin + len(line)
        if page is None or end > len(page):
            page, begin, end = self._grow(len(line)), 0, len(line)
            if page is None:
                return
        page[begin:end] = line
        self._at = end

    def _grow(self, least: int) -> mmap.mmap | None:
        """Map what comes behind the part that is full."""
        if self._fd < 0:
            return None
        more = -(-least // _CHUNK) * _CHUNK
        try:
            # Zeros are really written: a page for which the disk has no room would kill who copies into it.
            if os.pwrite(self._fd, bytes(more), self._size) < more:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            page = mmap.mmap(self._fd, more, offset=self._size)
        except OSError:
            self.close()
            return None
        self._page, self._at = page, 0
        self._size += more
        return page

    def close(self) -> None:
        """Close the file; what is written afterwards is lost."""
        fd, self._fd, self._page = self._fd, -1, None
        if fd >= 0:
            os.close(fd)


def _encoded(entry: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(entry)
    except (UnicodeEncodeError, TypeError):  # a name that is no valid text, or of a class of its own
        return json.dumps(entry).encode()


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal, but for lines that are torn."""
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line.strip(b"\0"))
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                yield entry
