"""What a budget looked like at one moment, for people and reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Holder", "Person", "Snapshot", "Waiting"]


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits in a slot, as far as it said and as far as can be seen from here.

    Parameters
    ----------
    slot
        Its place in the lock table; the only thing that is always known.
    pid
        As it knows itself; 0 when it could not say.
    label
        What it does: its leases' labels, or the claim it waits for.
    state
        ``"running"``, ``"stopped"``, ``"dead owner, forked child lives"``, ``"in another PID namespace"`` or
        ``"unknown"``.
    kept_by
        For a dead owner: who has its files open and did not say so, that is, its forked children.
    """

    slot: int
    pid: int = 0
    label: str = ""
    state: str = "unknown"
    kept_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who holds something: what, and for how many seconds (None when it could not say)."""

    person: Person
    amounts: Mapping[str, int]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody in the line: what it wants, for how many seconds it has waited, and why it still does."""

    person: Person
    ticket: int
    amounts: Mapping[str, int]
    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole budget.

    Parameters
    ----------
    directory
        Folder of the pool.
    limits
        Effective limit of each resource.
    free
        What is left of each; negative after a limit was lowered.
    holders, waiters
        Everybody who takes part, waiters in the order of their tickets.
    participants
        How many sit in the pool, idle ones included.
    differences
        One line for each resource on whose limit the participants do not agree.
    approximate, obstacle
        The mutex was not to be had, so holders and waiters may not fit together; and who holds it.
    exclusive
        There are no usable locks here: one claim at a time, see ``differences``.
    """

    directory: Path
    limits: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiting, ...] = ()
    participants: int = 0
    differences: tuple[str, ...] = ()
    approximate: bool = False
    exclusive: bool = False
    obstacle: str = ""
