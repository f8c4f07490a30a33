"""From the lock table and the notes to something people can read."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.admission import decide
from pytest_gpuguard.budget.model import Holder, Snapshot, Waiting
from pytest_gpuguard.budget.people import DEAD_OWNER, person, with_open_file
from pytest_gpuguard.budget.reasons import reason
from pytest_gpuguard.budget.wording import amount_text, person_text
from pytest_gpuguard.ledger.errors import LedgerBusy
from pytest_gpuguard.ledger.notes import read_note

if TYPE_CHECKING:
    from pytest_gpuguard.budget.model import Person
    from pytest_gpuguard.ledger.mutex import Mutex
    from pytest_gpuguard.ledger.notes import Note
    from pytest_gpuguard.ledger.reader import Reader
    from pytest_gpuguard.ledger.table import Table

__all__ = ["describe", "differences", "survey"]


def survey(reader: Reader, mutex: Mutex, now: float) -> Snapshot:
    """Read the table and describe it; when the mutex is not to be had, as it looks without."""
    try:
        with mutex.hold():
            table = reader.read()
    except LedgerBusy as busy:
        seen = describe(reader, reader.read(), now)
        return replace(seen, approximate=True, obstacle=str(busy))
    return describe(reader, table, now)


def describe(reader: Reader, table: Table, now: float) -> Snapshot:
    """Return ``table`` with names, ages and reasons.

    Parameters
    ----------
    now
        Seconds of the boot clock.
    """
    decision = decide(table)
    people = _People(reader, now)
    holders = tuple(
        Holder(people.holder(slot), dict(amounts), people.held_for(slot))
        for slot, amounts in sorted(table.held.items())
        if any(amounts.values())
    )
    waiters = tuple(
        Waiting(
            people.waiter(waiter.slot),
            waiter.ticket,
            dict(waiter.wants),
            reason(waiter, table, decision, lambda slot: person_text(people.holder(slot))),
            people.waited_for(waiter.slot),
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
    )


def differences(reader: Reader) -> tuple[str, ...]:
    """Return one line for each resource on whose limit participants, or the limits file, do not agree."""
    lines = []
    set_limits = reader.set_limits()
    for name, by_slot in reader.stated_limits().items():
        lowest = min(by_slot, key=lambda slot: by_slot[slot])
        values = sorted(set(by_slot.values()))
        if len(values) > 1:
            who = person_text(person(lowest, read_note(reader.folder, lowest)))
            texts = ", ".join(amount_text(name, value) for value in values)
            lines.append(f"{name}: limits differ ({texts}); the smallest counts, that of {who}")
        if name in set_limits and set_limits[name] < values[0]:
            limit = amount_text(name, set_limits[name])
            lines.append(f"{name}: limited to {limit} by limits.json of {reader.folder.path}")
    return tuple(lines)


class _People:
    """The notes of a pool, each read once."""

    def __init__(self, reader: Reader, now: float) -> None:
        self._reader = reader
        self._now = now
        self._notes: dict[int, Note] = {}

    def holder(self, slot: int) -> Person:
        who = person(slot, self._note(slot))
        return replace(who, kept_by=self._keepers()) if who.state == DEAD_OWNER else who

    def waiter(self, slot: int) -> Person:
        return person(slot, self._note(slot), asks=True)

    def held_for(self, slot: int) -> float | None:
        since = min((lease.since for lease in self._note(slot).leases), default=None)
        return None if since is None else max(0.0, self._now - since)

    def waited_for(self, slot: int) -> float | None:
        since = self._note(slot).waiting
        return max(0.0, self._now - since) if since else None

    def _note(self, slot: int) -> Note:
        if slot not in self._notes:
            self._notes[slot] = read_note(self._reader.folder, slot)
        return self._notes[slot]

    def _keepers(self) -> tuple[int, ...]:
        """Return who has the ledger open and has no seat of its own: forked children of dead owners."""
        seated = {os.getpid(), *(self._note(slot).pid for slot in self._reader.participants())}
        return tuple(pid for pid in with_open_file(self._reader.ledger_info()) if pid not in seated)
