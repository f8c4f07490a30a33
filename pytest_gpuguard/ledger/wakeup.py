"""Waking and watching by named pipes: a byte says "look again", a hang-up says "its owner died".

Each claimant keeps its own pipe open for reading and writing. Whoever changes something for it writes a
byte; whoever depends on it opens the pipe for reading and is told by the kernel when the last writer is gone,
across PID namespaces and whatever the manner of death. Pipes carry hints only: one that cannot be made or
opened costs time (the safety poll), never truth.
"""

from __future__ import annotations

import enum
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_gpuguard.ledger.layout import bell_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["Wake", "Watches", "drain", "open_bell", "ring"]


class Wake(enum.Enum):
    """What ended a sleep."""

    RUNG = enum.auto()
    HANGUP = enum.auto()
    TIMER = enum.auto()


def open_bell(folder: Folder, slot: int) -> int | None:
    """Return the pipe of ``slot``, made when missing and emptied; None when there can be none."""
    with suppress(OSError):  # it exists, or the disk is full: then opening tells
        os.mkfifo(bell_name(slot), 0o600, dir_fd=folder.fd)
    fd = folder.open_pipe(bell_name(slot), os.O_RDWR)
    drain(fd)
    return fd


def drain(fd: int | None) -> None:
    """Swallow what was written to the pipe ``fd``."""
    if fd is None:
        return
    with suppress(BlockingIOError):
        while len(os.read(fd, 4096)) == 4096:
            pass


def ring(folder: Folder, slots: Iterable[int]) -> None:
    """Tell the claimants in ``slots`` to look again; the dead and those without a pipe are passed over."""
    for slot in slots:
        fd = folder.open_pipe(bell_name(slot), os.O_WRONLY)
        if fd is None:
            continue
        try:
            with suppress(OSError):  # full: it has enough to wake up for
                os.write(fd, b"!")
        finally:
            os.close(fd)


class Watches:
    """The pipes of those on whom a waiter depends.

    Parameters
    ----------
    folder
        Where the pipes lie.
    bell
        The waiter's own pipe.
    """

    def __init__(self, folder: Folder, bell: int | None) -> None:
        self._folder = folder
        self._bell = bell
        self._open: dict[int, int] = {}
        self._tried: set[int] = set()

    def aim(self, slots: Iterable[int]) -> bool:
        """Watch exactly ``slots``; return whether any of them was not watched before.

        A watch opened after its owner's death never hangs up. So whoever gets True must look once more before
        it sleeps. One that cannot be opened counts as tried, or that would never end.
        """
        wanted = set(slots)
        for slot in self._open.keys() - wanted:
            os.close(self._open.pop(slot))
        new = wanted - self._open.keys() - self._tried
        self._tried = (self._tried & wanted) | new
        for slot in new:
            fd = self._folder.open_pipe(bell_name(slot), os.O_RDONLY)
            if fd is not None:
                self._open[slot] = fd
        return bool(new)

    def sleep(self, seconds: float) -> Wake:
        """Sleep until rung, until somebody watched dies, or until the time is over."""
        poller = select.poll()
        if self._bell is not None:
            poller.register(self._bell, select.POLLIN)
        for fd in self._open.values():
            poller.register(fd, 0)
        events = {fd for fd, _ in poller.poll(max(0.0, seconds) * 1000)}
        hung_up = [slot for slot, fd in self._open.items() if fd in events]
        for slot in hung_up:
            os.close(self._open.pop(slot))
            self._tried.discard(slot)
        if hung_up:
            return Wake.HANGUP
        return Wake.RUNG if events else Wake.TIMER

    def close(self) -> None:
        """Stop watching."""
        while self._open:
            os.close(self._open.popitem()[1])
