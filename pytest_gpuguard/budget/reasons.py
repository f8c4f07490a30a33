"""Why a waiter still waits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.admission import Decision, hopeless
from pytest_gpuguard.budget.wording import amounts_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.ledger.table import Table, Waiter

__all__ = ["reason"]


def reason(waiter: Waiter, table: Table, decision: Decision, name_of: Callable[[int], str]) -> str:
    """Return in one line why ``waiter`` has not got what it wants.

    Parameters
    ----------
    name_of
        Names a slot.
    """
    if waiter in decision.grantable:
        return "may take it now"
    if hopeless(waiter, table):
        return "asks for more than the limit"
    if waiter.slot in decision.suspended:
        return f"needs what others behind it hold: {_names(_behind(waiter, table), name_of)}"
    free = table.free()
    missing = {
        name: amount - max(0, free.get(name, 0))
        for name, amount in waiter.wants.items()
        if amount > free.get(name, 0)
    }
    if missing:
        return f"{amounts_text(missing)} more must come free"
    before = [
        other.slot
        for other in table.waiters
        if other.ticket < waiter.ticket
        and other.slot not in decision.suspended
        and other.wants.keys() & waiter.wants.keys()
    ]
    return f"what is free is kept for {_names(before, name_of)}"


def _behind(waiter: Waiter, table: Table) -> list[int]:
    later = [other.slot for other in table.waiters if other.ticket >= waiter.ticket]
    return [slot for slot in later if table.held.get(slot, {}).keys() & waiter.wants.keys()]


def _names(slots: list[int], name_of: Callable[[int], str]) -> str:
    return ", ".join(name_of(slot) for slot in slots) or "others"
