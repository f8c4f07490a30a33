"""From the lock table and the notes to something people can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.admission import decide
from pytest_gpuguard.budget.model import Holder, Snapshot, Waiting
from pytest_gpuguard.budget.people import person
from pytest_gpuguard.budget.reasons import reason
from pytest_gpuguard.budget.wording import amount_text, person_text
from pytest_gpuguard.ledger.errors import LedgerBusy
from pytest_gpuguard.ledger.notes import read_note

if TYPE_CHECKING:
    from pytest_gpuguard.ledger.mutex import Mutex
    from pytest_gpuguard.ledger.reader import Reader
    from pytest_gpuguard.ledger.table import Table

__all__ = ["describe", "differences", "survey"]


def survey(reader: Reader, mutex: Mutex, now: float) -> Snapshot:
    """Read the table and describe it; when the mutex is not to be had, as it looks without."""
    try:
        with mutex.hold():
            table = reader.read()
    except LedgerBusy:
        return describe(reader, reader.read(), now, approximate=True)
    return describe(reader, table, now)


def describe(reader: Reader, table: Table, now: float, *, approximate: bool = False) -> Snapshot:
    """Return ``table`` with names, ages and reasons.

    Parameters
    ----------
    now
        Seconds of the boot clock.
    """
    decision = decide(table)
    holders = tuple(
        Holder(person(slot, reader.folder), dict(amounts), _held_for(reader, slot, now))
        for slot, amounts in sorted(table.held.items())
        if any(amounts.values())
    )
    waiters = tuple(
        Waiting(
            person(waiter.slot, reader.folder),
            waiter.ticket,
            dict(waiter.wants),
            reason(waiter, table, decision, lambda slot: person_text(person(slot, reader.folder))),
            _waited_for(reader, waiter.slot, now),
        )
        for waiter in table.waiters
    )
    return Snapshot(
        reader.folder.path,
        dict(table.limits),
        table.free(),
        holders,
        waiters,
        len(reader.participants()),
        differences(reader),
        approximate,
    )


def differences(reader: Reader) -> tuple[str, ...]:
    """Return one line for each resource on whose limit participants, or the limits file, do not agree."""
    lines = []
    set_limits = reader.set_limits()
    for name, by_slot in reader.stated_limits().items():
        lowest = min(by_slot, key=lambda slot: by_slot[slot])
        values = sorted(set(by_slot.values()))
        if len(values) > 1:
            who = person_text(person(lowest, reader.folder))
            texts = ", ".join(amount_text(name, value) for value in values)
            lines.append(f"{name}: limits differ ({texts}); the smallest counts, that of {who}")
        if name in set_limits and set_limits[name] < values[0]:
            limit = amount_text(name, set_limits[name])
            lines.append(f"{name}: limited to {limit} by limits.json of {reader.folder.path}")
    return tuple(lines)


def _held_for(reader: Reader, slot: int, now: float) -> float | None:
    since = min((lease.since for lease in read_note(reader.folder, slot).leases), default=None)
    return None if since is None else max(0.0, now - since)


def _waited_for(reader: Reader, slot: int, now: float) -> float | None:
    since = read_note(reader.folder, slot).waiting
    return max(0.0, now - since) if since else None
