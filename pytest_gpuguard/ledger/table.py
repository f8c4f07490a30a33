"""What the lock table said at one moment: the only input of every decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Amounts", "Table", "Waiter"]

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Waiter:
    """One ticket: its number, whose slot, and the whole of what it wants."""

    ticket: int
    slot: int
    wants: Amounts


@dataclass(frozen=True, slots=True)
class Table:
    """Limits, holders and waiters.

    Parameters
    ----------
    limits
        Effective limit of each resource: the smallest that any live participant works with.
    held
        What each slot holds.
    waiters
        In the order of their tickets.
    binding
        Slots whose limit is lower than the observer's own: their death raises a limit.
    """

    limits: Amounts
    held: Mapping[int, Amounts]
    waiters: tuple[Waiter, ...] = ()
    binding: frozenset[int] = frozenset()

    def free(self) -> dict[str, int]:
        """Return what is left of each limit; negative after a limit was lowered."""
        left = dict(self.limits)
        for amounts in self.held.values():
            for name, amount in amounts.items():
                left[name] = left.get(name, 0) - amount
        return left

    def waiter(self, slot: int) -> Waiter | None:
        """Return the ticket of ``slot``."""
        return next((waiter for waiter in self.waiters if waiter.slot == slot), None)
