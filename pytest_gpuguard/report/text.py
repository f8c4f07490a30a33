"""The record as lines for a terminal: the verdict first, then a block for all that wants looking at."""

from __future__ import annotations

import textwrap
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from pytest_gpuguard.report.lines import (
    LABEL,
    WIDTH,
    Line,
    Piece,
    count,
    field,
    head,
    plain,
    printable,
    short,
    tail,
    wrapped,
)
from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.report.subjects import FdSubject
from pytest_gpuguard.report.trouble import budget_lines, trouble_blocks
from pytest_gpuguard.report.watched import watched_lines
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuguard.report.model import Frame, Leak, LeakGroup, RunReport

__all__ = ["Line", "Piece", "closing_lines", "leak_lines", "plain", "section_lines", "summary"]

_PLACE = 44
_MOST_GROUPS = 5
_MOST_TESTS = 1
_MOST_HOLDERS = 3
#: Whose leaks are counted apart, in that order.
_OWNERS = ("test", "class", "module", "package", "session")
#: Share of a CPU from which on a thread does more than wait.
_BURNING = 0.2


def _stack(frames: Sequence[Frame], marked: Frame | None) -> Iterator[Line]:
    places = [tail(f"{frame.file}:{frame.line}", _PLACE) for frame in frames]
    column = max(map(len, places), default=0) + 2
    for number, (place, frame) in enumerate(zip(places, frames, strict=True)):
        function = tail(frame.function, WIDTH - LABEL - column)
        is_marked = frame is marked
        start = ("  created" if number == 0 else "").ljust(LABEL - 2) + ("> " if is_marked else "  ")
        yield [Piece(start, "dim"), Piece(place.ljust(column)), Piece(function, "bad" if is_marked else "")]
        if is_marked:
            yield [Piece(" " * (LABEL + column)), Piece("~" * len(function), "bad")]


def _owner(leak: Leak) -> str:
    fixture = leak.origin.fixture
    if fixture is None:
        seen = f"in its {leak.origin.phase}" if leak.origin.certainty != "inferred" else "found at its end"
        return f"the test itself, {seen}"
    place = f"{fixture.file}:{fixture.line}" if fixture.file else fixture.node
    return f"fixture `{fixture.name}` ({fixture.scope})  {place}"


def _left_by(leaks: Sequence[Leak], everything: bool) -> Iterator[Line]:
    first = leaks[0]
    # One test may leave many of a kind.
    places = list(
        dict.fromkeys(f"{short(leak.origin.nodeid or leak.judged_node)}  {leak.worker}" for leak in leaks)
    )
    if first.judged_at != "function":
        node = first.judged_node or "the session"
        yield from field("left by", f"{node}  {first.worker}, judged at the end of the {first.judged_at}")
    else:
        yield from field("left by", places[0])
    others = places[_MOST_TESTS:]
    if everything:
        for place in others:
            yield from field("", place)
    elif others:
        yield from field("", f"and {len(others)} more, see the report")


def _open(leaks: Sequence[Leak], everything: bool) -> Iterator[Line]:
    subjects = [leak.subject for leak in leaks if isinstance(leak.subject, FdSubject)]
    for number, subject in enumerate(subjects if everything else subjects[:1]):
        fd = f"{subject.fd}: " if subject.fd >= 0 else ""
        yield from field("" if number else "open", f"{fd}{subject.target}")


def _reaped(group: LeakGroup) -> Iterator[Line]:
    done, all_ = [leak.reaped for leak in group.leaks if leak.reaped], len(group.counted)
    if done:
        text = f"{group.totals.reaped} of {all_}: {done[0]}"
        yield from field("reaped", text, "good" if group.totals.reaped == all_ else "warn")


def _group_head(group: LeakGroup) -> Line:
    tolerated = f" instead of {group.tolerated}" if group.status == "worse" and group.tolerated else ""
    nbytes = sum(leak.nbytes for leak in group.counted)
    size = f", {format_bytes(nbytes)}" if nbytes else ""
    return head(
        group.status.upper(),
        group.title,
        f", {count(len(group.counted), 'time')}{tolerated}{size}",
        f"{group.code}  {group.fingerprint.partition(':')[2][:8]}",
    )


def _accepted(group: LeakGroup) -> Iterator[Line]:
    # By marks each test may have a reason of its own, and in a new group some may be tolerated.
    by_baseline = group.known is not None and group.known.by == "baseline"
    told = [group.known] if by_baseline else [leak.known for leak in group.leaks]
    for known, number in Counter(filter(None, told)).items():
        by = {"baseline": "accepted", "hook": "ignored"}.get(known.by, "marked")
        more = f"{count(number, 'more time')}, " if group.status == "new" else ""
        issue = f", {known.issue}" if known.issue else ""
        until = f", until {known.until}" if known.until else ""
        yield from field(by, f'{more}"{known.reason}"{issue}{until}')


def leak_lines(group: LeakGroup, verbosity: int = 0) -> Iterator[Line]:
    """Yield one group's block: who is to blame, whose it is, where it was made, what to do."""
    leak = group.counted[0]
    yield _group_head(group)
    yield from _accepted(group)
    if group.status == "known" and verbosity < 1:
        return
    marked = group.suspect and next((frame for frame in leak.created if frame == group.suspect), None)
    if group.suspect is not None:
        yield from field(
            "suspect", f"{group.suspect.file}:{group.suspect.line}  {group.suspect.function}", "bad"
        )
    yield from field("owner", _owner(leak))
    yield from _left_by(group.counted, everything=verbosity > 1)
    yield from _open(group.counted, everything=verbosity > 1)
    yield from _stack(leak.created, marked)
    if verbosity > 0 and (now := getattr(leak.subject, "now", None)):
        inner = now[-1]
        yield from field("now", f"{inner.file}:{inner.line}  {inner.function}")
    cpu = getattr(leak.subject, "cpu", None)
    if cpu is not None and cpu >= _BURNING:
        yield from field("burns", f"{cpu:.0%} of a CPU while it was waited for", "bad")
    for holder in getattr(leak.subject, "holders", [])[:_MOST_HOLDERS]:
        yield from field("held by", holder)
    if not leak.verified:
        test = "its" if leak.judged_at == "function" else "the last"
        yield from field("note", f"{test} test failed: the traceback may be what keeps it alive")
    yield from field("hint", remedy(leak), "good")
    for line in leak.origin.fixture.edit if leak.origin.fixture else ():
        yield [
            Piece(" " * LABEL),
            Piece(tail(line, WIDTH - LABEL), "good" if line.startswith("+") else "dim"),
        ]
    yield from _reaped(group)


def _leaks_said(report: RunReport) -> str:
    verdict = report.verdict
    said = count(verdict.leaks, "leak")
    others = {"worse than accepted": verdict.leaks_worse, "known": verdict.leaks_known}
    if any(others.values()):
        new = verdict.leaks - sum(others.values())
        parts = [f"{number} {word}" for word, number in {"new": new, **others}.items() if number]
        said += f" ({', '.join(parts)})"
    return f"{said} left by {_owners(report)}"


def _owners(report: RunReport) -> str:
    """Return how many tests, and how many owners of each wider scope, have left something."""
    # A block is a part of a test.
    words = {"function": "test", "block": "test"}
    leaks = (leak for group in report.groups for leak in group.leaks)
    owners = {(words.get(leak.judged_at, leak.judged_at), leak.judged_node) for leak in leaks}
    numbers = Counter(word for word, _ in owners)
    parts = [count(numbers[word], word) for word in _OWNERS if numbers[word]]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def summary(report: RunReport) -> str:
    """Return the verdict in one sentence."""
    verdict, parts = report.verdict, []
    if verdict.leaks:
        parts.append(_leaks_said(report))
    if verdict.faults:
        parts.append(count(verdict.faults, "fault"))
    if verdict.deaths:
        parts.append(f"{count(verdict.deaths, 'thread')} died under a test")
    if verdict.tests_ended:
        parts.append(f"{count(verdict.tests_ended, 'test')} ended without progress")
    elif verdict.stalls:
        parts.append(count(verdict.stalls, "stall"))
    if verdict.timeouts or verdict.deadlocks:
        parts.append(f"{count(verdict.timeouts + verdict.deadlocks, 'lease')} not to be had")
    crashed = sum(worker.end == "crashed" for worker in report.workers)
    if crashed:
        parts.append(f"{count(crashed, 'worker')} crashed")
    return ", ".join(parts)


def _cut_off(report: RunReport) -> Iterator[Line]:
    """Yield what is to be known of a run that has no end."""
    words = {
        "cut off": f"this run was cut off after {format_seconds(report.run.duration_s)}: "
        "this is what was known by then",
        "running": f"this run goes on; its last news is of {format_seconds(report.run.duration_s)}",
        "interrupted": "this run was interrupted",
    }
    if report.run.end in words:
        yield from wrapped(words[report.run.end], "warn")
    for span in report.unfinished[:_MOST_GROUPS]:
        yield from field("running", f"{short(span.nodeid)}  {span.worker}, since {span.start:.1f} s")
    if len(report.unfinished) > _MOST_GROUPS:
        yield from field("", f"and {len(report.unfinished) - _MOST_GROUPS} more")


def section_lines(report: RunReport, verbosity: int = 0) -> list[Line]:
    """Return the body of the terminal section; empty when there is nothing to say."""
    blocks = trouble_blocks(report)
    news = [group for group in report.groups if group.status != "known"]
    if verbosity < 0 and not (news or report.failed_by):
        return []
    if not (report.groups or blocks or report.failed_by or report.run.end in {"cut off", "running"}):
        return []
    style = "bad" if news else "warn"
    lines: list[Line] = [[Piece(line, style)] for line in textwrap.wrap(summary(report), WIDTH)]
    lines += _cut_off(report)
    shown = report.groups if verbosity > 0 else report.groups[:_MOST_GROUPS]
    for block in chain((list(leak_lines(group, verbosity)) for group in shown), blocks):
        lines += [[], *block]
    if len(shown) < len(report.groups):
        lines += [[], [Piece(f"and {len(report.groups) - len(shown)} more leaks: -v shows them")]]
    why = [line for reason in report.failed_by for line in wrapped(reason, "bad")]
    return [*lines, [], *why] if lines and why else lines + why


def closing_lines(report: RunReport, verbosity: int = 0) -> list[Line]:
    """Return the waits, and what was watched, so that silence is never taken for health."""
    unable = sorted({worker.unable for worker in report.workers if worker.unable})
    lines = [[Piece(f"gpuguard: no wait could be ended: {printable(why)}", "bad")] for why in unable]
    lines += [line for note in report.notes for line in wrapped(f"gpuguard: {note}", "warn")]
    if report.gone:
        text = f"gpuguard: {count(len(report.gone), 'leak')} of the baseline gone: `gpuguard baseline prune`"
        lines.append([Piece(text, "good")])
    return [*lines, *budget_lines(report, verbosity), *watched_lines(report, verbosity)]
