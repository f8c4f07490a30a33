"""What the tests' processes sent, made into one record."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard import __version__
from pytest_gpuguard.report.fingerprint import fingerprint, suspect_of
from pytest_gpuguard.report.model import (
    SCHEMA_VERSION,
    Death,
    Leak,
    LeakGroup,
    Probe,
    Run,
    RunReport,
    Setting,
    Stall,
    TestSpan,
    Totals,
    Verdict,
    Wait,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Gathered", "build", "group"]

#: What a test's process sends: lists of plain values by name, such as ``leaks`` and ``waits``.
Payload = dict[str, Any]


class Gathered:
    """Collects payloads and test outcomes while the run goes on; the controller's memory."""

    def __init__(self) -> None:
        self.leaks: list[Leak] = []
        self.deaths: list[Death] = []
        self.stalls: list[Stall] = []
        self.waits: list[Wait] = []
        self.notes: dict[str, None] = {}
        self.workers: dict[str, Worker] = {}
        self.tests: dict[tuple[str, str], TestSpan] = {}
        self.counts: dict[str, Mapping[str, Mapping[str, int]]] = {}

    def add(self, payload: Payload) -> list[Leak]:
        """Take one payload; return its leaks."""
        leaks = msgspec.convert(payload.get("leaks", []), list[Leak])
        self.leaks += leaks
        self.deaths += msgspec.convert(payload.get("deaths", []), list[Death])
        self.stalls += msgspec.convert(payload.get("stalls", []), list[Stall])
        self.waits += msgspec.convert(payload.get("waits", []), list[Wait])
        self.notes |= dict.fromkeys(payload.get("notes", []))
        return leaks

    def add_counts(self, worker: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Take the running totals of one process by kind; later totals replace earlier ones."""
        self.counts[worker] = counts

    def add_phase(self, nodeid: str, worker: str, start: float, stop: float, outcome: str) -> TestSpan:
        """Take the end of one phase of a test; the worst outcome of its phases counts."""
        span = self.tests.setdefault((nodeid, worker), TestSpan(nodeid, worker, start, stop, outcome))
        span.stop = stop
        if span.outcome == "passed" or outcome == "failed":
            span.outcome = outcome
        return span

    def probes(self) -> list[Probe]:
        """Return what was watched over all processes, by kind."""
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        for counts in self.counts.values():
            for kind, numbers in counts.items():
                totals[kind].update(numbers)
        return [Probe(kind, numbers["seen"], numbers["known"]) for kind, numbers in totals.items()]


def group(leaks: Iterable[Leak]) -> list[LeakGroup]:
    """Return the leaks by defect, most frequent first, then by fingerprint."""
    found: dict[str, list[Leak]] = defaultdict(list)
    for leak in leaks:
        found[fingerprint(leak.kind, leak.created, leak.what)].append(leak)
    groups = [
        LeakGroup(
            fingerprint=print_,
            kind=members[0].kind,
            code=members[0].code,
            status="new",
            title=members[0].title,
            suspect=suspect_of(members[0].created),
            totals=Totals(
                len(members),
                len({leak.origin.nodeid for leak in members}),
                sum(leak.nbytes for leak in members),
                sum((leak.reaped or "").startswith("stopped") for leak in members),
            ),
            leaks=members,
        )
        for print_, members in found.items()
    ]
    return sorted(groups, key=lambda entry: (-entry.totals.occurrences, entry.fingerprint))


def _verdict(gathered: Gathered, groups: Sequence[LeakGroup]) -> Verdict:
    return Verdict(
        leaks=len(groups),
        tests_leaked=len({leak.origin.nodeid for leak in gathered.leaks}),
        deaths=len(gathered.deaths),
        waits_broken=sum(death.interrupted for death in gathered.deaths),
        stalls=len(gathered.stalls),
        tests_ended=len({stall.nodeid for stall in gathered.stalls if stall.ended}),
    )


def build(gathered: Gathered, run: Run, settings: Mapping[str, Setting]) -> RunReport:
    """Return the record of the run."""
    groups = group(gathered.leaks)
    return RunReport(
        schema_version=SCHEMA_VERSION,
        tool="pytest-gpuguard",
        version=__version__,
        run=run,
        settings=dict(settings),
        workers=sorted(gathered.workers.values(), key=lambda worker: worker.id),
        probes=gathered.probes(),
        verdict=_verdict(gathered, groups),
        groups=groups,
        deaths=gathered.deaths,
        stalls=gathered.stalls,
        tests=list(gathered.tests.values()),
        waits=gathered.waits,
        notes=list(gathered.notes),
    )


def group_payload(leaks: Sequence[Payload]) -> list[LeakGroup]:
    """Return the groups of leaks as a test's process has them: plain values."""
    return group(msgspec.convert(list(leaks), list[Leak]))
