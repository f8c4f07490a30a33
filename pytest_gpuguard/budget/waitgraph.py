"""Who could never be served: reduction of the graph of holders and waiters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.admission import fits, hopeless

if TYPE_CHECKING:
    from pytest_gpuguard.ledger.table import Table, Waiter

__all__ = ["stuck", "victim"]


def stuck(table: Table) -> tuple[Waiter, ...]:
    """Return the waiters that stay unserved even if everybody who does not wait releases.

    Assume that all who do not wait give everything back; then serve any waiter that fits and add what it
    holds; repeat. Who remains waits for one another for ever. A waiter that asks for more than the limit
    gives up by itself, so it counts as one who does not wait.
    """
    left = [waiter for waiter in table.waiters if not hopeless(waiter, table)]
    free = dict(table.limits)
    for waiter in left:
        for name, amount in table.held.get(waiter.slot, {}).items():
            free[name] = free.get(name, 0) - amount
    while served := [waiter for waiter in left if fits(waiter.wants, free)]:
        for waiter in served:
            for name, amount in table.held.get(waiter.slot, {}).items():
                free[name] = free.get(name, 0) + amount
        left = [waiter for waiter in left if waiter not in served]
    return tuple(left)


def victim(table: Table) -> Waiter | None:
    """Return who has to give up so that the others go on: the newest of the stuck; everybody agrees on it."""
    return max(stuck(table), key=lambda waiter: waiter.ticket, default=None)
