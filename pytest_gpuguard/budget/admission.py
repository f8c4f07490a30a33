"""Who may have what, whom to tell and whom to watch: pure functions of one :class:`Table`.

Everybody computes the same from the same table, so no server is needed. The rules that keep wake-ups from
being lost live here too, each named where it is applied; the explorer in ``tests/properties`` runs these very
functions through every interleaving and finds a stuck state when any one of them is dropped.

R1  after opening a new watch look once more (in :mod:`pytest_gpuguard.budget.waiting`)
R2  watch exactly those whom the decision saw
R3  whoever starts to wait tells those who become grantable because of it
R4  a grant tells everybody it overtakes
R5  a watch that cannot be opened counts as tried (:class:`pytest_gpuguard.ledger.wakeup.Watches`)
R6  closed descriptors are forgotten (:class:`pytest_gpuguard.ledger.reader.Descriptors`)
R7  whoever joins tells all waiters: by taking over the pipe of a dead one it may hide the hang-up
R8  watch those whose lower limit binds us: their end raises it
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Set

    from pytest_gpuguard.ledger.table import Amounts, Table, Waiter

__all__ = [
    "Decision",
    "View",
    "decide",
    "fits",
    "hopeless",
    "told_on_join",
    "told_on_overtaking",
    "told_on_queue",
    "told_on_release",
    "view",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a table means.

    Parameters
    ----------
    grantable
        Waiters that may take what they want, in order.
    suspended
        Slots that cannot be served before somebody behind them releases; nothing is kept for them.
    left
        What is free beside all grants and reservations; negative where more is reserved than there is.
    """

    grantable: tuple[Waiter, ...]
    suspended: frozenset[int]
    left: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """What a table means to one waiter.

    Parameters
    ----------
    granted
        It may take what it wants.
    tell
        Slots to wake once it has.
    watch
        Slots whose death may change the answer.
    grantable
        ``(ticket, slot)`` of all that may take now, to notice the ones that do not.
    ahead
        Slots that hold what it wants, and those of earlier waiters.
    standing
        What those ahead hold and in what order they wait: differs when any of them got further.
    """

    granted: bool
    tell: tuple[int, ...]
    watch: frozenset[int]
    grantable: tuple[tuple[int, int], ...]
    ahead: tuple[int, ...] = ()
    standing: Hashable = None


def fits(wants: Amounts, free: Amounts) -> bool:
    """Return whether ``free`` covers ``wants``."""
    return all(amount <= free.get(name, 0) for name, amount in wants.items())


def hopeless(waiter: Waiter, table: Table) -> bool:
    """Return whether ``waiter`` asks for more than there can be; it gives up when it looks."""
    return not fits(waiter.wants, table.limits)


def decide(table: Table, stalled: Set[tuple[int, int]] = frozenset()) -> Decision:
    """Go through the line in order and say who may take.

    A waiter that fits is grantable. One that does not, but could be served without anybody behind it
    releasing, has its amounts reserved: later ones pass only on what is left, so a large request is never
    starved. One that depends on somebody behind it keeps nothing back: otherwise neither would ever move.

    Parameters
    ----------
    table
        The lock table.
    stalled
        ``(ticket, slot)`` that have not taken for long what they could have had; passed over like suspended.
    """
    left = table.free()
    # What can never come free for the waiter at hand: held by itself, by those behind it, by suspended ones.
    out_of_reach = Counter[str]()
    for waiter in table.waiters:
        out_of_reach.update(table.held.get(waiter.slot, {}))
    grantable: list[Waiter] = []
    suspended: set[int] = set()
    for waiter in table.waiters:
        passed_over = (waiter.ticket, waiter.slot) in stalled
        if not passed_over and fits(waiter.wants, left):
            grantable.append(waiter)
        elif passed_over or not _servable(waiter, table, out_of_reach):
            suspended.add(waiter.slot)
            continue
        for name, amount in waiter.wants.items():
            left[name] = left.get(name, 0) - amount
        out_of_reach.subtract(table.held.get(waiter.slot, {}))
    return Decision(tuple(grantable), frozenset(suspended), left)


def _servable(waiter: Waiter, table: Table, out_of_reach: Mapping[str, int]) -> bool:
    return all(
        amount <= table.limits.get(name, 0) - out_of_reach.get(name, 0)
        for name, amount in waiter.wants.items()
    )


def view(table: Table, slot: int, stalled: Set[tuple[int, int]] = frozenset()) -> View:
    """Return what ``table`` means to the waiter in ``slot``."""
    decision = decide(table, stalled)
    grantable = tuple((waiter.ticket, waiter.slot) for waiter in decision.grantable)
    earlier = _earlier(table, slot)
    if all(granted != slot for _, granted in grantable):
        holders = {holder for holder, amounts in table.held.items() if any(amounts.values())}
        # R2: of this table, not of a later one. R8: a limit below ours goes up when its owner goes.
        watch = frozenset((holders | earlier.keys() | table.binding) - {slot})
        standing = _in_the_way(table, slot)
        return View(
            False,
            (),
            watch,
            grantable,
            (*standing, *earlier),
            (tuple(standing.items()), tuple(earlier.items())),
        )
    # R4: the overtaken do not watch us yet, so if we die before they look they would never know.
    tell = (*(granted for _, granted in grantable if granted != slot), *earlier)
    return View(True, tuple(dict.fromkeys(tell)), frozenset(), grantable)


def _earlier(table: Table, slot: int) -> dict[int, int]:
    """Return slot and ticket of those who came before."""
    mine = table.waiter(slot)
    return {
        waiter.slot: waiter.ticket
        for waiter in table.waiters
        if mine is not None and waiter.ticket < mine.ticket
    }


def _in_the_way(table: Table, slot: int) -> dict[int, tuple[int, ...]]:
    """Return who holds what ``slot`` waits for, and how much."""
    mine = table.waiter(slot)
    names = sorted(mine.wants) if mine is not None else []
    return {
        holder: amounts
        for holder, held in sorted(table.held.items())
        if holder != slot and any(amounts := tuple(held.get(name, 0) for name in names))
    }


def told_on_release(table: Table) -> tuple[int, ...]:
    """Return whom a release makes grantable."""
    return tuple(waiter.slot for waiter in decide(table).grantable)


def told_on_queue(table: Table, slot: int) -> tuple[int, ...]:
    """Return whom ``slot`` makes grantable by starting to wait.

    R3: a holder that waits may suspend an earlier waiter, whose reservation then no longer blocks a third.
    """
    return tuple(told for told in told_on_release(table) if told != slot)


def told_on_overtaking(table: Table) -> tuple[int, ...]:
    """Return whom somebody has to wake who took without waiting while others wait (R4)."""
    return tuple(waiter.slot for waiter in table.waiters)


def told_on_join(waiting: list[int]) -> tuple[int, ...]:
    """Return whom a newcomer has to wake.

    R7: it may have taken over the slot, and the pipe, of one that just died: whoever watched that pipe
    and had not run yet finds it healthy. And its limit may be lower than all before.
    """
    return tuple(waiting)
