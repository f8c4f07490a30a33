"""Who stood in the way of a claim, as the record has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.budget import Snapshot

__all__ = ["blockers"]


def blockers(snapshot: Snapshot | None, wants: Mapping[str, int], run: str) -> list[dict[str, Any]]:
    """Return who holds something of what is wanted, then who waited for some of it before; others only.

    Parameters
    ----------
    run
        Our own run: of a member of it that need not be said.
    """
    if snapshot is None:
        return []
    found: dict[int, dict[str, Any]] = {}
    for holder in snapshot.holders:
        if holder.amounts.keys() & wants.keys():
            entry = _entry(holder.person.label, holder.person.pid, run, holder.seconds)
            found[holder.person.slot] = entry | {"role": "holder", "holds": dict(holder.amounts)}
    for waiting in snapshot.waiters:
        if waiting.amounts.keys() & wants.keys():
            entry = _entry(waiting.person.label, waiting.person.pid, run, waiting.seconds)
            known = found.setdefault(waiting.person.slot, entry | {"role": "ahead"})
            known["wants"] = dict(waiting.amounts)
    return [entry for entry in found.values() if entry["pid"] != os.getpid()]


def _entry(label: str, pid: int, run: str, seconds: float | None) -> dict[str, Any]:
    who = label.replace(f" {run} ", " ") or f"pid {pid}"
    return {"who": who, "pid": pid, "for_s": seconds}
