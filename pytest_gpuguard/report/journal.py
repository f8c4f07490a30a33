"""Append-only journals: one JSON object a line, one file a process, so that a killed process leaves a record.

Each line is one write, so of a process that dies the last line alone can be torn.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Journal", "entries"]

# Made once: it is called twice for each test.
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Journal:
    """Writes one file; without one where that cannot be written.

    Parameters
    ----------
    path
        The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._fd = -1
        try:
            path.parent.mkdir(exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:  # a full or read-only disk: the record at the end is the loud one
            return

    def write(self, **entry: Any) -> None:
        """Append one entry of plain values."""
        if self._fd >= 0:
            try:
                os.write(self._fd, _ENCODE(entry).encode() + b"\n")
            except OSError:
                self.close()

    def close(self) -> None:
        """Close the file; what is written afterwards is lost."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal, but for lines that are torn."""
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry
