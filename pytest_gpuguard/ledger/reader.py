"""Reading the lock table through one set of descriptors."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from pytest_gpuguard.ledger.errors import LedgerLost
from pytest_gpuguard.ledger.folder import move_above
from pytest_gpuguard.ledger.layout import (
    BEATS,
    HELD,
    LEDGER,
    LIMITS,
    MUTEX,
    SLOTS,
    TICKETS,
    WANT,
    beat_of,
    limit_at,
    limit_of,
    name_at,
    resource_file,
    slot_of_amount,
    ticket_of,
)
from pytest_gpuguard.ledger.limitsfile import LimitsFile
from pytest_gpuguard.ledger.ranges import any_locked, locked
from pytest_gpuguard.ledger.table import Table, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.ledger.folder import Folder
    from pytest_gpuguard.ledger.layout import Region

__all__ = ["Descriptors", "Reader"]


_everybody: weakref.WeakSet[Reader] = weakref.WeakSet()


class Descriptors:
    """Descriptors that one participant owns, closed together, in an order that matters.

    They are closed when their owner is collected, too: nobody holds bytes that no object stands for.
    """

    def __init__(self, owner: object) -> None:
        self._numbers: list[int] = []
        self._finalizer = weakref.finalize(owner, _close_all, self._numbers)
        self._finalizer.atexit = False

    def add(self, fd: int) -> int:
        """Own ``fd`` and return it."""
        self._numbers.append(fd)
        return fd

    def add_first(self, fd: int) -> int:
        """Own ``fd``, to be closed after all others, and return it."""
        self._numbers.insert(0, fd)
        return fd

    def swap(self, old: int, new: int) -> int:
        """Own ``new``, which took the place of ``old``, and return it."""
        self._numbers[self._numbers.index(old)] = new
        return new

    def close(self) -> None:
        """Close all, newest first, and forget them: a number that was closed may soon be a stranger's."""
        _close_all(self._numbers)


def _close_all(numbers: list[int]) -> None:
    while numbers:
        os.close(numbers.pop())


class Reader:
    """Looks at the table of a pool without taking part in it.

    Own locks are invisible to own queries, so a participant's own share comes from memory: the attributes
    ``slot``, ``limits``, ``held``, ``wants`` and ``ticket``, which stay empty for a mere reader.

    Parameters
    ----------
    folder
        The pool.
    say
        Told in one line what people should know.
    """

    def __init__(self, folder: Folder, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.slot = -1
        self.limits: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.wants: dict[str, int] = {}
        self.ticket: int | None = None
        self._floor = -1
        self._resources: dict[str, int] = {}
        self._limits_file = LimitsFile(folder, say)
        self._descriptors = Descriptors(self)
        self._own(folder.fd)
        _everybody.add(self)
        self._mutex_fd = self._own(folder.open_file(MUTEX))
        self._ledger = self._own(folder.open_file(LEDGER))

    def mutex_fd(self) -> int:
        """Return the descriptor that carries the mutex, -1 when closed."""
        return self._mutex_fd

    def read(self) -> Table:
        """Return the whole table; only under the mutex is it one that can be decided upon.

        Releases and deaths go on meanwhile, so sums may be lower in truth than here, never higher.
        """
        tickets = self._tickets()
        held: dict[int, dict[str, int]] = {}
        wants: dict[int, dict[str, int]] = {}
        limits: dict[str, int] = {}
        binding: set[int] = set()
        for name in self._known():
            fd = self._resource(name)
            limits[name], lower = self._limit(name, fd)
            binding |= lower
            self._collect(held, name, self._amounts(fd, HELD, self.held.get(name, 0)))
            if tickets:
                self._collect(wants, name, self._amounts(fd, WANT, self.wants.get(name, 0)))
        waiters = tuple(Waiter(ticket, slot, wants.get(slot, {})) for ticket, slot in tickets)
        return Table(limits, held, waiters, frozenset(binding))

    def room(self, name: str) -> tuple[int, int]:
        """Return the effective limit of one resource, and what is free of it."""
        fd = self._resource(name)
        limit = self._limit(name, fd)[0]
        others = sum(length for _, length in locked(fd, *HELD))
        return limit, limit - others - self.held.get(name, 0)

    def someone_waits(self) -> bool:
        """Return whether there is any ticket."""
        return self.ticket is not None or any_locked(self._ledger, *TICKETS)

    def waiting(self) -> list[int]:
        """Return the slots with a ticket, in the order of their tickets."""
        return [slot for _, slot in self._tickets()]

    def participants(self) -> list[int]:
        """Return all slots that somebody sits in."""
        others = [start for start, _ in locked(self._ledger, *SLOTS)]
        return sorted([*others, self.slot]) if self.slot >= 0 else others

    def beats(self) -> dict[int, int]:
        """Return how many steps each participant that counts them has made."""
        return dict(beat_of(start) for start, _ in locked(self._ledger, *BEATS))

    def stated_limits(self) -> dict[str, dict[int, int]]:
        """Return, for each resource, the limit that each participant works with."""
        stated: dict[str, dict[int, int]] = {}
        for name in self._known():
            places = (limit_of(start) for start, _ in locked(self._resource(name), *LIMITS))
            by_slot = {slot: limit for limit, slot in places}
            if name in self.limits:
                by_slot[self.slot] = self.limits[name]
            if by_slot:
                stated[name] = by_slot
        return stated

    def set_limits(self) -> dict[str, int]:
        """Return what the limits file says."""
        return dict(self._limits_file.read())

    def ledger_info(self) -> os.stat_result:
        """Return what identifies the ledger, to see who has it open."""
        return os.fstat(self._ledger)

    def check_alive(self) -> None:
        """Make sure that the files we decide upon are still the ones that a newcomer would find.

        Raises
        ------
        LedgerLost
            When one of them was deleted.
        """
        for fd in (self._ledger, self._mutex_fd, *self._resources.values()):
            if not os.fstat(fd).st_nlink:
                message = (
                    f"{self.folder.path}: files of the budget were deleted while runs use them; newcomers no "
                    "longer see what is held, so nothing more is granted: end these runs and start anew"
                )
                raise LedgerLost(message)

    def close(self) -> None:
        """Close everything."""
        self._resources.clear()
        self._descriptors.close()
        self.folder.fd = self._ledger = self._mutex_fd = -1

    def _own(self, fd: int) -> int:
        return self._descriptors.add(fd)

    def _known(self) -> list[str]:
        """Return all resources of the pool; also those only others know: their waiters may be ahead of us."""
        found = {name[2:] for name in self.folder.names() if name.startswith("r.")}
        return sorted(found | self.limits.keys())

    def _resource(self, name: str) -> int:
        fd = self._resources.get(name)
        if fd is None:
            fd = self._own(move_above(self._open_resource(name), self._floor))
            self._resources[name] = fd
        return fd

    def _open_resource(self, name: str) -> int:
        try:
            return self.folder.open_file(resource_file(name))
        except FileNotFoundError:
            # Made by the first who wants it; but not a second time while others know it.
            if any_locked(self._ledger, name_at(name), name_at(name) + 1):
                message = (
                    f"{self.folder.path / resource_file(name)} is missing while others use it: it was "
                    "deleted; let those runs end, or use another pool"
                )
                raise LedgerLost(message) from None
            return self.folder.open_file(resource_file(name), create=True)

    def _limit(self, name: str, fd: int) -> tuple[int, frozenset[int]]:
        """Return the effective limit, and whose limits below our own make it so."""
        own = self.limits.get(name)
        lowest = own
        lower: frozenset[int] = frozenset()
        end = LIMITS[1] if own is None else limit_at(own, 0)
        if any_locked(fd, LIMITS[0], end):
            places = [limit_of(start) for start, _ in locked(fd, LIMITS[0], end)]
            if places:
                lowest = places[0][0]
                lower = frozenset(slot for _, slot in places)
        stated = self._limits_file.read().get(name)
        if stated is not None:
            lowest = stated if lowest is None else min(lowest, stated)
        return lowest or 0, lower

    def _tickets(self) -> list[tuple[int, int]]:
        found = [ticket_of(start) for start, _ in locked(self._ledger, *TICKETS)]
        if self.ticket is not None:
            found.append((self.ticket, self.slot))
            found.sort()
        return found

    def _amounts(self, fd: int, region: Region, own: int) -> dict[int, int]:
        amounts: dict[int, int] = {self.slot: own} if own else {}
        for start, length in locked(fd, *region):
            slot = slot_of_amount(region, start)
            amounts[slot] = amounts.get(slot, 0) + length
        return amounts

    @staticmethod
    def _collect(into: dict[int, dict[str, int]], name: str, amounts: Mapping[int, int]) -> None:
        for slot, amount in amounts.items():
            into.setdefault(slot, {})[name] = amount


def _in_child() -> None:
    """Close our copies, also of who was just joining: our life must not prolong the parent's locks."""
    for reader in list(_everybody):
        reader.close()


os.register_at_fork(after_in_child=_in_child)
