"""What the tests' processes sent, made into one record."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard import __version__
from pytest_gpuguard.report.baseline import Baseline, apply, gone
from pytest_gpuguard.report.fingerprint import fingerprint, suspect_of
from pytest_gpuguard.report.folding import folded
from pytest_gpuguard.report.gathered import Gathered, Payload, leaks_of
from pytest_gpuguard.report.model import (
    SCHEMA_VERSION,
    Leak,
    LeakGroup,
    Run,
    RunReport,
    Setting,
    Totals,
    Verdict,
)
from pytest_gpuguard.report.subjects import FdSubject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from pytest_gpuguard.report.model import TestSpan

__all__ = ["Gathered", "build", "encode", "group", "group_payload", "happened"]


def _told_by(leak: Leak) -> str:
    """Return what tells leaks of one place apart; of what was found by looking that is known of its test."""
    if leak.created or leak.origin.fixture is not None or leak.kind not in {"fd", "memory"}:
        return leak.what
    if isinstance(leak.subject, FdSubject) and leak.subject.lasting:
        return leak.what
    file, _, name = leak.origin.nodeid.partition("::")
    return f"{leak.what} of {file}::{name.partition('[')[0]}"


def group(leaks: Iterable[Leak]) -> list[LeakGroup]:
    """Return the leaks by defect: threads and processes, which keep the rest alive, first; then by number."""
    found: dict[str, list[Leak]] = defaultdict(list)
    for leak in leaks:
        found[fingerprint(leak.kind, leak.created, _told_by(leak), leak.origin.fixture)].append(leak)
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
    return sorted(groups, key=lambda entry: (entry.code[:4], -entry.totals.occurrences, entry.fingerprint))


def _verdict(gathered: Gathered, groups: Sequence[LeakGroup], faults: int) -> Verdict:
    waits = gathered.waits
    return Verdict(
        leaks=len(groups),
        tests_leaked=len({leak.origin.nodeid for leak in gathered.leaks}),
        deaths=len(gathered.deaths),
        waits_broken=sum(death.interrupted for death in gathered.deaths),
        stalls=len(gathered.stalls),
        tests_ended=len({stall.nodeid for stall in gathered.stalls if stall.ended}),
        leaks_known=sum(entry.status == "known" for entry in groups),
        leaks_worse=sum(entry.status == "worse" for entry in groups),
        faults=faults,
        waits=len(waits),
        waited_s=round(sum(wait.ended - wait.began for wait in waits), 3),
        timeouts=sum(wait.end == "timeout" for wait in waits),
        deadlocks=sum(wait.end == "deadlock" for wait in waits),
    )


def _with_waits(gathered: Gathered) -> list[TestSpan]:
    tests = sorted(gathered.tests, key=attrgetter("start"))
    for wait in gathered.waits:
        span = gathered.test(wait.nodeid, wait.worker)
        if span is not None:
            span.waited_s = round(span.waited_s + wait.ended - wait.began, 3)
    return tests


def build(
    gathered: Gathered,
    run: Run,
    settings: Mapping[str, Setting],
    baseline: Baseline | None = None,
    today: date | None = None,
) -> RunReport:
    """Return the record of the run, its leaks judged by what is tolerated on that day."""
    accepted, day = baseline or Baseline(), today or datetime.now(UTC).date()
    groups = apply(group(gathered.leaks), accepted, day)
    tests, faults = _with_waits(gathered), folded(gathered.faults)
    report = RunReport(
        schema_version=SCHEMA_VERSION,
        tool="pytest-gpuguard",
        version=__version__,
        run=run,
        settings=dict(settings),
        workers=sorted(gathered.workers.values(), key=lambda worker: worker.id),
        probes=gathered.probes(),
        verdict=_verdict(gathered, groups, len(faults)),
        groups=groups,
        deaths=gathered.deaths,
        stalls=gathered.stalls,
        tests=tests,
        waits=gathered.waits,
        notes=list(gathered.notes),
        devices=sorted(gathered.devices.values(), key=lambda device: (device.index, device.uuid)),
        limits=gathered.limits,
        levels=gathered.levels(),
        faults=faults,
    )
    return msgspec.structs.replace(report, gone=gone(accepted, report, day))


def happened(report: RunReport) -> bool:
    """Return whether there is anything to keep: a test has begun, or something went wrong without."""
    trouble = (report.failed_by, report.groups, report.deaths, report.stalls, report.faults)
    lost = any(worker.end != "ok" for worker in report.workers)
    return bool(report.tests or report.unfinished or lost or any(trouble))


def encode(report: RunReport) -> bytes:
    """Return the record as JSON; names that are no valid text are made so."""
    try:
        return msgspec.json.encode(report)
    except UnicodeEncodeError:
        return msgspec.json.encode(_sound(msgspec.to_builtins(report)))


def _sound(plain: Any) -> Any:
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode()
    if isinstance(plain, list):
        return [_sound(entry) for entry in plain]
    if isinstance(plain, dict):
        return {_sound(name): _sound(value) for name, value in plain.items()}
    return plain


def group_payload(leaks: Sequence[Payload]) -> list[LeakGroup]:
    """Return the groups of leaks as a test's process has them: plain values."""
    return group(leaks_of(leaks))
