"""When each test of a process began and ended: two numbers a test, in memory that outlives the process.

The file is mapped like that of a journal. To write into it is to store a number, a small part of what a line
of text costs; what there is to be told of a test beside its times is in the journal.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from pytest_gpuguard.forks import in_each_child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Sheet", "columns", "times_in"]

_ROW = 16


class Sheet:
    """Writes one file; keeps what it is told in memory alone where that cannot be written.

    Parameters
    ----------
    path
        The file; None for memory alone.
    size
        How many tests there are.

    Attributes
    ----------
    times
        Begin and end of each test in seconds, one after the other; 0 until they are known.
    """

    def __init__(self, path: Path | None, size: int) -> None:
        self.times = _mapped(path, size * _ROW) if path is not None and size else _private(bytes(size * _ROW))
        in_each_child(self._part)

    def _part(self) -> None:
        """Go on in memory of its own: what a child does is not what the parent's file is about."""
        self.times = _private(bytes(self.times))


def _private(content: bytes) -> memoryview[float]:
    return memoryview(bytearray(content)).cast("d")


def _mapped(path: Path, nbytes: int) -> memoryview[float]:
    """Return the file as numbers; nothing of it stays open."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            # Zeros are really written: a page for which the disk has no room would kill who stores into it.
            if os.pwrite(fd, bytes(nbytes), 0) < nbytes:
                return _private(bytes(nbytes))
            return memoryview(mmap.mmap(fd, nbytes)).cast("d")
        finally:
            os.close(fd)
    except OSError:  # a full or read-only disk: the record at the end is the loud one
        return _private(bytes(nbytes))


def times_in(path: Path) -> memoryview[float]:
    """Return what is in a sheet, as of now; nothing where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    return _private(content[: len(content) // _ROW * _ROW])


def columns(times: memoryview[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Return the begins of all tests and their ends; 0 for what has not come."""
    numbers = times.tolist()
    return numbers[::2], numbers[1::2]
