"""Faults of one cause, told once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.report.model import Fault

__all__ = ["folded"]


def folded(faults: Sequence[Fault]) -> list[Fault]:
    """Return the faults, of each memory that ran out only the first, with those of other tests as followers.

    The first is the one that has left a dossier; where none could, the earliest.
    """
    found = [fault for fault in faults if fault.kind != "oom"]
    for code in sorted({fault.code for fault in faults if fault.kind == "oom"}):
        first, *others = sorted(
            (fault for fault in faults if fault.kind == "oom" and fault.code == code),
            key=lambda fault: (not fault.state, fault.at),
        )
        later = dict.fromkeys(fault.nodeid for fault in others if fault.nodeid != first.nodeid)
        found.append(msgspec.structs.replace(first, followers=[*first.followers, *later]))
    return sorted(found, key=lambda fault: fault.at)
