"""A seat in the lock table: the changes that one open file description makes to it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_gpuguard.ledger.errors import LedgerBusy, LedgerUnsafe
from pytest_gpuguard.ledger.folder import move_above
from pytest_gpuguard.ledger.layout import (
    HELD,
    MAX_AMOUNT,
    SLOT_COUNT,
    SLOTS,
    TICKETS,
    WANT,
    amount_start,
    beat_at,
    limit_at,
    name_at,
    note_name,
    ticket_at,
)
from pytest_gpuguard.ledger.notes import Note, encode
from pytest_gpuguard.ledger.ranges import locked, set_lock, share_lock, unlock
from pytest_gpuguard.ledger.reader import Reader
from pytest_gpuguard.ledger.wakeup import open_bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["Member"]

# Start and length; unlocking them touches nobody's ticket but our own.
_ALL_TICKETS = (TICKETS[0], TICKETS[1] - TICKETS[0])


class Member(Reader):
    """One participant. All changes but :meth:`give` and :meth:`beat` need the mutex, held by the caller.

    Parameters
    ----------
    folder
        The pool; owned from now on.
    say
        Told in one line what people should know.
    seam
        Called with the name of each step just made: tests kill, stop or fail there.

    Attributes
    ----------
    bell
        Our pipe, None when there could be none.
    grants
        How often :meth:`take` succeeded.
    """

    def __init__(
        self, folder: Folder, say: Callable[[str], None], seam: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(folder, say)
        self.bell: int | None = None
        self._note: int | None = None
        self._beat: int | None = None
        self._seam = seam
        self._dirty = False
        self.grants = 0

    def join(self, limits: Mapping[str, int]) -> None:
        """Take a free slot and state the limits we work with.

        Raises
        ------
        LedgerBusy
            When all slots are taken.
        """
        taken = {start for start, _ in locked(self._ledger, *SLOTS)}
        slot = next((slot for slot in range(SLOT_COUNT) if slot not in taken), None)
        if slot is None:
            message = f"{self.folder.path}: all {SLOT_COUNT} places are taken; use another pool"
            raise LedgerBusy(message)
        self._hang_bell(slot)
        self._seam("join: pipe made")
        set_lock(self._ledger, slot, 1)
        self.slot = slot
        self._seam("join: slot locked")
        for name, limit in limits.items():
            fd = self._resource(name)
            share_lock(self._ledger, name_at(name), 1)
            set_lock(fd, limit_at(limit, slot), 1)
            self.limits[name] = limit
            self._seam("join: limit locked")
        self._open_note(slot)
        self._seam("join: note made")

    def _hang_bell(self, slot: int) -> None:
        """Open the pipe and move every descriptor with locks above it, see :func:`move_above`."""
        bell = open_bell(self.folder, slot)
        if bell is None:
            return
        self.bell = self._descriptors.add_first(bell)
        self._floor = bell
        self._ledger = self._lift(self._ledger)
        self._mutex_fd = self._lift(self._mutex_fd)
        self._resources = {name: self._lift(fd) for name, fd in self._resources.items()}

    def _lift(self, fd: int) -> int:
        return self._descriptors.swap(fd, move_above(fd, self._floor))

    def _open_note(self, slot: int) -> None:
        with suppress(OSError, LedgerUnsafe):  # full disk, something planted: then we have no name
            self._note = self._own(self.folder.open_file(note_name(slot), create=True))
            # A predecessor's name must not stay if ours cannot be written.
            os.truncate(self._note, 0)

    def take(self, amounts: Mapping[str, int]) -> None:
        """Hold ``amounts`` more, all or nothing."""
        self.repair()
        before, grants = self.held, self.grants
        self._dirty = True
        try:
            for name, amount in amounts.items():
                self._seam("take: before a resource")
                set_lock(self._resource(name), amount_start(HELD, self.slot) + before.get(name, 0), amount)
                self._seam("take: resource held")
            held = before | {name: before.get(name, 0) + amount for name, amount in amounts.items()}
            self.held, self.grants, self._dirty = held, grants + 1, False
            self._seam("take: all held")
        except BaseException:
            self.held, self.grants, self._dirty = before, grants, True
            self.repair()
            raise

    def give(self, amounts: Mapping[str, int]) -> None:
        """Hold ``amounts`` less. Needs no mutex: sums only fall."""
        # Memory falls first, in one step: if we are interrupted below, the repair unlocks the rest.
        self._dirty = True
        left = {name: self.held[name] - amount for name, amount in amounts.items()}
        self.held = self.held | left
        try:
            for name, amount in amounts.items():
                unlock(self._resource(name), amount_start(HELD, self.slot) + left[name], amount)
                self._seam("give: resource given")
        finally:
            self.repair()

    def queue(self, wants: Mapping[str, int]) -> None:
        """Wait in line for ``wants``, which come first: nobody sees a ticket without the whole of them."""
        self.repair()
        self._dirty = True
        try:
            tickets = self._tickets()
            for name, amount in wants.items():
                set_lock(self._resource(name), amount_start(WANT, self.slot), amount)
                self._seam("queue: want locked")
            ticket = tickets[-1][0] + 1 if tickets else 0
            set_lock(self._ledger, ticket_at(ticket, self.slot), 1)
            self.wants, self.ticket, self._dirty = dict(wants), ticket, False
            self._seam("queue: ticket locked")
        except BaseException:
            self.ticket, self._dirty = None, True
            self.repair()
            raise

    def unqueue(self) -> None:
        """Leave the line, ticket first: nobody ever sees a ticket without its want."""
        self._dirty = True
        self.ticket, wants = None, self.wants
        unlock(self._ledger, *_ALL_TICKETS)
        self._seam("unqueue: ticket dropped")
        for name in wants:
            unlock(self._resource(name), amount_start(WANT, self.slot), MAX_AMOUNT)
        self.wants = {}
        self._dirty = False
        self._seam("unqueue: want dropped")

    def repair(self) -> None:
        """Bring the table back to what memory says, after an interrupt or an error between two steps."""
        if not self._dirty:
            return
        if self.ticket is None:
            unlock(self._ledger, *_ALL_TICKETS)
            self.wants = {}
        for name, fd in self._resources.items():
            held = self.held.get(name, 0)
            unlock(fd, amount_start(HELD, self.slot) + held, MAX_AMOUNT - held)
            if self.ticket is None:
                unlock(fd, amount_start(WANT, self.slot), MAX_AMOUNT)
        self._dirty = False

    def unsettled(self) -> bool:
        """Return whether we stand in line, or were interrupted half-way."""
        return self._dirty or self.ticket is not None

    def beat(self) -> None:
        """Show that we got a step further (a test's phase ended); waiters behind us then wait on."""
        now = 0 if self._beat is None else self._beat + 1
        set_lock(self._ledger, beat_at(self.slot, now), 1)
        if self._beat is not None:
            unlock(self._ledger, beat_at(self.slot, self._beat), 1)
        self._beat = now

    def write_note(self, note: Note) -> None:
        """Say who we are; on a full disk nothing is said."""
        if self._note is not None:
            with suppress(OSError):
                os.pwrite(self._note, encode(note), 0)
                self._seam("note written")

    def leave(self) -> None:
        """Give everything back and go.

        Unlocking says so at once; closing alone would be delayed by a copy in a child between fork and exec.
        """
        for fd in (self._ledger, *self._resources.values()):
            unlock(fd, 0, 0)
        self.close()

    def close(self) -> None:
        """Close all descriptors and nothing else: in a forked child the locks are the parent's.

        The pipe closes last, so that whoever sees it hang up finds the locks gone.
        """
        self.held, self.wants, self.ticket, self.limits = {}, {}, None, {}
        self.bell = self._note = None
        self.slot = -1
        super().close()
