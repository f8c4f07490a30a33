"""What is known of a process after any kind of death: one page of memory in a file.

Writing to it is a copy in memory, no system call; what was written is there for others whatever then happens
to the writer. A text that was being written at the moment of death may be torn, and is shown as it is.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SLOTS", "Vital", "Vitals", "read_vital"]

_SIZE = 4096
_HEAD = struct.Struct("<qqd")
_LENGTH = struct.Struct("<H")
#: Texts and the most bytes that each can have.
SLOTS = {"phase": 16, "leases": 1500, "last": 500}


def _places() -> dict[str, int]:
    places, at = {}, _HEAD.size
    for name, size in SLOTS.items():
        places[name] = at
        at += _LENGTH.size + size
    return places


_PLACES = _places()


class Vital(NamedTuple):
    """What a process has said last.

    ``signal`` makes the interpreter write its stacks, 0 where there is none; ``looked`` is when its monitor
    last ran, in monotonic seconds, 0 when it never did.
    """

    pid: int
    signal: int
    looked: float
    phase: str
    leases: str
    last: str


class Vitals:
    """The page of this process.

    Parameters
    ----------
    path
        Its file, which is made.
    signal
        See :class:`Vital`.
    """

    def __init__(self, path: Path, signal: int) -> None:
        with path.open("w+b") as file:
            file.truncate(_SIZE)
            self._page = mmap.mmap(file.fileno(), _SIZE)
        self._signal = signal
        self.look(0.0)

    def look(self, now: float) -> None:
        """Note that the monitor runs."""
        _HEAD.pack_into(self._page, 0, os.getpid(), self._signal, now)

    def say(self, slot: str, text: str) -> None:
        """Note a text, as much of it as there is room for."""
        encoded = text.encode(errors="backslashreplace")[: SLOTS[slot]]
        at = _PLACES[slot]
        self._page[at : at + 2 + len(encoded)] = _LENGTH.pack(len(encoded)) + encoded


def read_vital(path: Path) -> Vital | None:
    """Return what the process of that file has said; None when there is no such file, or not yet."""
    try:
        page = path.read_bytes()
    except OSError:
        return None
    if len(page) < _SIZE:
        return None
    texts = []
    for name, at in _PLACES.items():
        length = min(_LENGTH.unpack_from(page, at)[0], SLOTS[name])
        texts.append(page[at + 2 : at + 2 + length].decode(errors="replace"))
    pid, signal, looked = _HEAD.unpack_from(page)
    return Vital(pid, signal, looked, *texts) if pid else None
