"""Who waits for whom, read off a snapshot. Pure; for people, nothing is decided by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_gpuguard.budget.model import Person, Snapshot

__all__ = ["WaitsFor", "edges"]


class WaitsFor(NamedTuple):
    """``waiter`` waits for the ``amount`` of a resource that ``holder`` has, or (0) for its turn behind."""

    waiter: str
    holder: str
    resource: str
    amount: int


def edges(snapshot: Snapshot) -> list[WaitsFor]:
    """Return an edge for each resource that a waiter wants more of than is free, and each of its holders.

    Who is only behind somebody in the line waits for the one right before.
    """
    found: list[WaitsFor] = []
    for place, waiting in enumerate(snapshot.waiters):
        who = _name(waiting.person)
        short = [name for name, wanted in waiting.amounts.items() if wanted > snapshot.free.get(name, 0)]
        held = [
            WaitsFor(who, _name(holder.person), name, holder.amounts[name])
            for name in short
            for holder in snapshot.holders
            if holder.amounts.get(name) and holder.person.slot != waiting.person.slot
        ]
        if not held and place:
            before = snapshot.waiters[place - 1]
            shared = next(iter(before.amounts.keys() & waiting.amounts.keys()), "")
            held = [WaitsFor(who, _name(before.person), shared, 0)]
        found += held
    return found


def _name(person: Person) -> str:
    return person.label or f"pid {person.pid}"
