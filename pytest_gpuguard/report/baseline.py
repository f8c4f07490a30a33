"""Known leaks: a file that people keep beside their suite, each entry with a reason, for a time if they like.

A leak of the baseline is ``known``, ``worse`` when there are more of it than were accepted, and ``gone`` when
tests that left it passed in a run that watched for its kind, and it was not there.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.report.leaks import Accepted, Gone
from pytest_gpuguard.report.looked import would_show
from pytest_gpuguard.report.reading import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuguard.report.leaks import LeakGroup
    from pytest_gpuguard.report.model import RunReport

__all__ = ["Baseline", "Entry", "accept", "apply", "gone", "read_baseline", "write_baseline"]

VERSION = 1
_MOST_TESTS = 5


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted leak.

    ``until`` is the last day on which it is tolerated (ISO 8601), ``occurrences`` how many of it there were,
    ``tests`` some of those that left it, ``kind`` is empty where an older version wrote it:
    then nothing shows that it is gone.
    """

    fingerprint: str
    title: str
    reason: str
    accepted: str
    suspect: str = ""
    issue: str | None = None
    until: str | None = None
    occurrences: int | None = None
    tests: list[str] = []
    kind: str = ""

    def expired(self, today: date) -> bool:
        """Return whether its time is over."""
        return self.until is not None and date.fromisoformat(self.until) < today


class Baseline(msgspec.Struct, frozen=True):
    """All accepted leaks, by fingerprint."""

    baseline_version: int = VERSION
    leaks: list[Entry] = []

    def find(self, fingerprint: str, today: date) -> Entry | None:
        """Return the entry in force for a leak."""
        entries = (entry for entry in self.leaks if entry.fingerprint == fingerprint)
        return next((entry for entry in entries if not entry.expired(today)), None)


def read_baseline(encoded: bytes, name: str) -> Baseline:
    """Return the baseline in ``encoded``, which is called ``name``.

    Raises
    ------
    UnreadableError
    """
    try:
        baseline = msgspec.json.decode(encoded, type=Baseline)
        for entry in baseline.leaks:
            if entry.until is not None:
                date.fromisoformat(entry.until)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        message = f"{name} is no baseline: {error}"
        raise UnreadableError(message) from None
    if baseline.baseline_version > VERSION:
        message = (
            f"{name} has version {baseline.baseline_version}, this pytest-gpuguard reads version {VERSION}"
        )
        raise UnreadableError(message)
    for entry in baseline.leaks:
        if not entry.reason.strip():
            message = f"{name}: {entry.fingerprint} has no reason, and nothing is accepted without one"
            raise UnreadableError(message)
    return baseline


def write_baseline(baseline: Baseline) -> bytes:
    """Return the baseline as it is kept: a line a field, in a stable order, so that differences are small."""
    ordered = msgspec.structs.replace(
        baseline, leaks=sorted(baseline.leaks, key=lambda entry: entry.fingerprint)
    )
    return msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n"


def accept(group: LeakGroup, reason: str, issue: str | None, until: str | None, today: date) -> Entry:
    """Return the entry that accepts all leaks of one defect."""
    suspect = group.suspect
    return Entry(
        group.fingerprint,
        group.title,
        reason,
        today.isoformat(),
        f"{suspect.file} {suspect.function}" if suspect else "",
        issue,
        until,
        group.totals.occurrences,
        sorted({leak.origin.nodeid for leak in group.leaks if leak.origin.nodeid})[:_MOST_TESTS],
        group.kind,
    )


def apply(groups: Iterable[LeakGroup], baseline: Baseline, today: date) -> list[LeakGroup]:
    """Return the groups with their status: new before worse before known, otherwise in the order given."""
    judged = [_judged(group, baseline, today) for group in groups]
    return sorted(judged, key=lambda group: ("new", "worse", "known").index(group.status))


def _judged(group: LeakGroup, baseline: Baseline, today: date) -> LeakGroup:
    entry = baseline.find(group.fingerprint, today)
    if entry is not None:
        is_worse = entry.occurrences is not None and group.totals.occurrences > entry.occurrences
        return msgspec.structs.replace(
            group,
            status="worse" if is_worse else "known",
            known=Accepted(entry.reason, "baseline", entry.issue, entry.until),
            tolerated=entry.occurrences,
        )
    marks = [leak.known for leak in group.leaks if leak.known is not None]
    if len(marks) == len(group.leaks) and marks:
        return msgspec.structs.replace(group, status="known", known=marks[0])
    return group


def gone(baseline: Baseline, report: RunReport, today: date) -> list[Gone]:
    """Return what the run no longer leaks, of what it would have shown."""
    here, shows = {group.fingerprint for group in report.groups}, would_show(report)
    return [
        Gone(entry.fingerprint, entry.title, entry.reason)
        for entry in baseline.leaks
        if entry.fingerprint not in here and not entry.expired(today) and shows(entry.kind, entry.tests)
    ]
