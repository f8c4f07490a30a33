"""The state of a pool as ``gpuguard status --json`` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pytest_gpuguard.budget import Holder, Snapshot, Waiting
    from pytest_gpuguard.cli.where import Where

__all__ = ["Claimant", "Queued", "Resource", "State", "state_of"]


class Resource(msgspec.Struct, frozen=True):
    """One resource: its effective limit, what is held of it, what is free (negative after it was lowered)."""

    name: str
    limit: int
    held: int
    free: int


class Claimant(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who holds or waits.

    Parameters
    ----------
    slot
        Place in the lock table; the only thing that is always known.
    pid, label
        As it says of itself; 0 and ``""`` when it could not.
    state
        running, stopped, "dead owner, forked child lives", "in another PID namespace" or unknown.
    kept_by
        Pids of forked children that keep what a dead owner held.
    amounts
        What it holds or wants, by resource.
    seconds
        For how long; null when it could not say.
    """

    slot: int
    pid: int
    label: str
    state: str
    kept_by: list[int]
    amounts: dict[str, int]
    seconds: float | None


class Queued(Claimant, frozen=True, kw_only=True):
    """Somebody who waits.

    Parameters
    ----------
    place
        1 for the first in the line.
    reason
        Why it still waits.
    """

    place: int
    reason: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A pool.

    Parameters
    ----------
    participants
        How many take part, those included that hold nothing.
    differences
        One line for each resource on whose limit they do not agree.
    approximate
        The mutex was not to be had: holders and waiters may not fit together.
    notes
        What else people should know.
    """

    schema_version: int = 1
    pool: str
    folder: str
    participants: int
    resources: list[Resource]
    holders: list[Claimant]
    waiters: list[Queued]
    differences: list[str]
    approximate: bool
    notes: list[str]


def state_of(snapshot: Snapshot, where: Where, said: list[str]) -> State:
    """Return ``snapshot`` as a record.

    Parameters
    ----------
    said
        Lines that people should know, told while it was taken.
    """
    return State(
        pool=where.pool,
        folder=str(where.path),
        participants=snapshot.participants,
        resources=[
            Resource(name, limit, limit - snapshot.free[name], snapshot.free[name])
            for name, limit in snapshot.limits.items()
        ],
        holders=[Claimant(**_facts(holder)) for holder in snapshot.holders],
        waiters=[
            Queued(place=place, reason=waiter.reason, **_facts(waiter))
            for place, waiter in enumerate(snapshot.waiters, start=1)
        ],
        differences=list(snapshot.differences),
        approximate=snapshot.approximate,
        notes=[*said, *([snapshot.obstacle] if snapshot.obstacle else [])],
    )


def _facts(entry: Holder | Waiting) -> dict[str, Any]:
    person = entry.person
    return {
        "slot": person.slot,
        "pid": person.pid,
        "label": person.label,
        "state": person.state,
        "kept_by": list(person.kept_by),
        "amounts": {name: amount for name, amount in entry.amounts.items() if amount},
        "seconds": None if entry.seconds is None else round(entry.seconds, 1),
    }
