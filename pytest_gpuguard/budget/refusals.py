"""Where claims are refused, with everybody named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget import messages, survey
from pytest_gpuguard.budget.errors import BudgetDeadlock, BudgetTimeout, BudgetTooLarge
from pytest_gpuguard.budget.waitgraph import stuck, victim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.budget.claimant import Claimant
    from pytest_gpuguard.ledger.member import Member
    from pytest_gpuguard.ledger.table import Amounts, Table

__all__ = ["give_up_for_others", "refuse_circle", "refuse_too_large", "timed_out"]


def refuse_too_large(member: Member, wants: Mapping[str, int], limits: Amounts) -> None:
    """Refuse what the limits in force will never allow, whoever made them so low.

    Raises
    ------
    BudgetTooLarge
        If so.
    """
    for name, amount in wants.items():
        limit = limits.get(name, 0)
        if amount > limit:
            why = survey.differences(member)
            raise BudgetTooLarge(messages.too_large(name, amount, limit, member.limits.get(name), why))


def refuse_circle(member: Member, table: Table, now: float) -> None:
    """Refuse, at the door, the claim that would close a circle of claimants that wait for one another.

    Raises
    ------
    BudgetDeadlock
        If ``member`` is one of them.
    """
    if any(waiter.slot == member.slot for waiter in stuck(table)):
        raise _deadlock(member, table, now)


def give_up_for_others(member: Member, table: Table, now: float) -> None:
    """After a limit was lowered: the newest claim of a circle that this closed gives up.

    Raises
    ------
    BudgetDeadlock
        If that is ``member``.
    """
    newest = victim(table)
    if newest is not None and newest.slot == member.slot:
        raise _deadlock(member, table, now)


def timed_out(claimant: Claimant, gave_up: str) -> BudgetTimeout:
    """Return the error of a wait that ran out of patience."""
    member = claimant.member
    wants, ticket = dict(member.wants), member.ticket
    snapshot = claimant.snapshot()
    return BudgetTimeout(
        messages.timed_out(wants, gave_up, -1 if ticket is None else ticket, snapshot), snapshot
    )


def _deadlock(member: Member, table: Table, now: float) -> BudgetDeadlock:
    snapshot = survey.describe(member, table, now)
    circle = [waiter.slot for waiter in stuck(table)]
    return BudgetDeadlock(messages.deadlock(circle, member.slot, snapshot), snapshot)
