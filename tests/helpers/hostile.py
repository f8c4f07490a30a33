"""Records in which the suite has chosen every name that it can choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.report.build import group
from pytest_gpuguard.report.model import Blocker, Edge, Fault, Gone, Levels, Probe, TestSpan, Wait

if TYPE_CHECKING:
    from pytest_gpuguard.report.model import RunReport

__all__ = ["renamed"]

REPLACE = msgspec.structs.replace


def renamed(report: RunReport, text: str) -> RunReport:
    """Return the record with ``text`` wherever the suite chooses the words."""

    def frame(entry):
        return REPLACE(entry, file=text, function=text)

    def leak(entry):
        fixture = entry.origin.fixture
        named = fixture and REPLACE(fixture, name=text, file=text, made=text, closing=text, node=text)
        return REPLACE(
            entry,
            origin=REPLACE(entry.origin, nodeid=text, fixture=named),
            judged_node=text,
            created=[frame(place) for place in entry.created],
            subject=REPLACE(entry.subject, name=text, target=text, now=[frame(entry.created[0])]),
            title=text,
            what=text,
            keeper=text,
            closing=text,
            reaped=text,
        )

    wait = Wait(
        text, "main", {text: 1}, 0.1, 0.7, "timeout", [text], [Blocker(text)], [Edge(text, text, text)]
    )
    return REPLACE(
        report,
        groups=group(leak(entry) for groups in report.groups for entry in groups.leaks),
        deaths=[REPLACE(death, thread=text, target=text, error=text, nodeid=text) for death in report.deaths],
        stalls=[REPLACE(stall, nodeid=text, stacks=text, how=text) for stall in report.stalls],
        tests=[REPLACE(span, nodeid=text) for span in report.tests],
        waits=[wait],
        faults=[Fault("sticky", "GPG401", "main", text, text, 1.0, [text], text, text)],
        notes=[text],
        run=REPLACE(report.run, argv=[text], versions={text: text}),
        workers=[REPLACE(worker, error=text, end="crashed", finished=1.0) for worker in report.workers],
        probes=[Probe(text, 1, 0, text)],
        levels=[Levels("main", "pinned", [0.0, 1.0], [7, 0]), Levels("main", text, [0.0], [7])],
        limits={"pinned": 9, text: 9},
        unfinished=[TestSpan(text, "main", 0.1, 0.2, "unfinished")],
        gone=[Gone(text, text, text)],
    )
