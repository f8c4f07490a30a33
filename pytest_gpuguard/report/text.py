"""The record as lines for a terminal: pure, without colour codes, nothing wider than 80 columns.

A line is a list of pieces, each a text and the name of a style; who prints it knows what styles look like.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_gpuguard.report.model import Death, Frame, Leak, LeakGroup, Origin, RunReport, Stall, Wait

__all__ = ["Line", "Piece", "closing_lines", "leak_lines", "plain", "section_lines"]

WIDTH = 80
_LABEL = 12
_PLACE = 44
_MOST_GROUPS = 5
_MOST_LINES = 6
_MOST_TESTS = 1


class Piece(NamedTuple):
    """A run of text in one style: ``""``, ``bad``, ``warn``, ``good``, ``strong`` or ``dim``."""

    text: str
    style: str = ""


Line = list[Piece]


def plain(lines: Iterable[Line]) -> str:
    """Return the lines as text."""
    return "\n".join("".join(piece.text for piece in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """Return ``text`` on one line and without control characters: tests choose names freely."""
    return "".join(char if char.isprintable() else "?" for char in text)


def count(number: int, noun: str) -> str:
    """Return ``"1 leak"`` or ``"3 leaks"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def tail(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns; of a path or a qualified name the end says most."""
    shown = printable(text)
    return shown if len(shown) <= width else "..." + shown[len(shown) - width + 3 :]


def _field(label: str, text: str, style: str = "") -> Iterator[Line]:
    lines = textwrap.wrap(
        printable(text), WIDTH - _LABEL, break_on_hyphens=False, max_lines=_MOST_LINES, placeholder=" ..."
    ) or [""]
    for number, line in enumerate(lines):
        head = f"  {label}".ljust(_LABEL) if number == 0 else " " * _LABEL
        yield [Piece(head, "dim"), Piece(line, style)]


def _stack(frames: Sequence[Frame], marked: Frame | None) -> Iterator[Line]:
    places = [tail(f"{frame.file}:{frame.line}", _PLACE) for frame in frames]
    column = max(map(len, places), default=0) + 2
    for number, (place, frame) in enumerate(zip(places, frames, strict=True)):
        function = tail(frame.function, WIDTH - _LABEL - column)
        is_marked = frame is marked
        head = ("  created" if number == 0 else "").ljust(_LABEL - 2) + ("> " if is_marked else "  ")
        yield [Piece(head, "dim"), Piece(place.ljust(column)), Piece(function, "bad" if is_marked else "")]
        if is_marked:
            yield [Piece(" " * (_LABEL + column)), Piece("~" * len(function), "bad")]


def _owner(leak: Leak) -> str:
    fixture = leak.origin.fixture
    if fixture is None:
        return f"the test itself, in its {leak.origin.phase}"
    place = f"{fixture.file}:{fixture.line}" if fixture.file else fixture.node
    return f"fixture `{fixture.name}` ({fixture.scope})  {place}"


def _short(nodeid: str) -> str:
    return nodeid.rpartition("::")[2] or nodeid


def _left_by(leaks: Sequence[Leak], everything: bool) -> Iterator[Line]:
    first = leaks[0]
    if first.judged_at != "function":
        node = first.judged_node or "the session"
        yield from _field("left by", f"{node}  {first.worker}, judged at the end of the {first.judged_at}")
    else:
        yield from _field("left by", f"{_short(first.origin.nodeid)}  {first.worker}")
    others = leaks[_MOST_TESTS:]
    if everything:
        for leak in others:
            yield from _field("", f"{_short(leak.origin.nodeid or leak.judged_node)}  {leak.worker}")
    elif others:
        yield from _field("", f"and {len(others)} more, see the report")


def _reaped(group: LeakGroup) -> Iterator[Line]:
    done = [leak.reaped for leak in group.leaks if leak.reaped]
    if done:
        text = f"{group.totals.reaped} of {group.totals.occurrences}: {done[0]}"
        yield from _field(
            "reaped", text, "good" if group.totals.reaped == group.totals.occurrences else "warn"
        )


def _head(status: str, subject: str, rest: str, right: str) -> Line:
    subject = tail(subject, WIDTH - 7 - len(rest) - 2 - len(right))
    left = f"{status:<7}{subject}{rest}"
    return [Piece(left, "strong"), Piece(right.rjust(WIDTH - len(left)), "dim")]


def leak_lines(group: LeakGroup, verbosity: int = 0) -> Iterator[Line]:
    """Return one group's block: who is to blame, whose it is, where it was made, what to do."""
    leak = group.leaks[0]
    yield _head(
        group.status.upper(),
        group.title,
        f", {count(group.totals.occurrences, 'time')}",
        f"{group.code}  {group.fingerprint.partition(':')[2][:8]}",
    )
    marked = group.suspect and next((frame for frame in leak.created if frame == group.suspect), None)
    if group.suspect is not None:
        yield from _field(
            "suspect", f"{group.suspect.file}:{group.suspect.line}  {group.suspect.function}", "bad"
        )
    yield from _field("owner", _owner(leak))
    yield from _left_by(group.leaks, everything=verbosity > 1)
    yield from _stack(leak.created, marked)
    if verbosity > 0 and (now := getattr(leak.subject, "now", None)):
        inner = now[-1]
        yield from _field("now", f"{inner.file}:{inner.line}  {inner.function}")
    if not leak.verified:
        test = "its" if leak.judged_at == "function" else "the last"
        yield from _field("note", f"{test} test failed: the traceback may be what keeps it alive")
    yield from _field("hint", remedy(leak), "good")
    yield from _reaped(group)


def _made_by(origin: Origin | None) -> str:
    if origin is None:
        return "before the first test"
    fixture = f"fixture `{origin.fixture.name}` ({origin.fixture.scope})" if origin.fixture else "the test"
    return f"{fixture}, {_short(origin.nodeid)}" if origin.nodeid else fixture


def _more(number: int) -> Iterator[Line]:
    if number > _MOST_GROUPS:
        yield from _field("", f"and {number - _MOST_GROUPS} more, see the report")


def _death_lines(deaths: Sequence[Death]) -> Iterator[Line]:
    by_cause: dict[tuple[str, str], list[Death]] = {}
    for death in deaths:
        by_cause.setdefault((death.target, death.error), []).append(death)
    for (target, error), members in list(by_cause.items())[:_MOST_GROUPS]:
        broken = sum(death.interrupted for death in members)
        qualname = target.rpartition(":")[2]
        yield _head("DIED", f"thread {qualname}", f", {count(len(members), 'time')}", "GPG110")
        yield from _field("of", error, "bad")
        yield from _field("by", _made_by(members[0].origin))
        yield from _field("in", f"{_short(members[0].nodeid)}  {members[0].worker}")
        if broken:
            yield from _field(
                "", f"{count(broken, 'test')} waited for it and {'was' if broken == 1 else 'were'} ended"
            )
    yield from _more(len(by_cause))


def _stall_lines(stalls: Sequence[Stall]) -> Iterator[Line]:
    ended = [stall for stall in stalls if stall.ended]
    for stall in (ended or list(stalls))[:_MOST_GROUPS]:
        word = "ENDED" if stall.ended else "SLOW"
        yield _head(word, _short(stall.nodeid), "", "GPG601")
        yield from _field(
            "in", f"{stall.phase}  {stall.worker}, no progress for {format_seconds(stall.idle_s)}"
        )
        if stall.stacks:
            yield from _field("stacks", stall.stacks)
    yield from _more(len(ended or stalls))


def summary(report: RunReport) -> str:
    """Return the verdict in one sentence."""
    verdict, parts = report.verdict, []
    if verdict.leaks:
        parts.append(f"{count(verdict.leaks, 'leak')} left by {count(verdict.tests_leaked, 'test')}")
    if verdict.deaths:
        parts.append(f"{count(verdict.deaths, 'thread')} died under a test")
    if verdict.tests_ended:
        parts.append(f"{count(verdict.tests_ended, 'test')} ended without progress")
    elif verdict.stalls:
        parts.append(count(verdict.stalls, "stall"))
    return ", ".join(parts)


def section_lines(report: RunReport, verbosity: int = 0) -> list[Line]:
    """Return the body of the terminal section; empty when there is nothing to say."""
    if not (report.groups or report.deaths or report.stalls) or (verbosity < 0 and not report.groups):
        return []
    style = "bad" if report.groups else "warn"
    lines: list[Line] = [[Piece(line, style)] for line in textwrap.wrap(summary(report), WIDTH)]
    shown = report.groups if verbosity > 0 else report.groups[:_MOST_GROUPS]
    blocks: list[Iterator[Line]] = [leak_lines(group, verbosity) for group in shown]
    blocks += [_death_lines(report.deaths), _stall_lines(report.stalls)]
    for block in blocks:
        body = list(block)
        if body:
            lines += [[], *body]
    if len(shown) < len(report.groups):
        lines += [[], [Piece(f"and {len(report.groups) - len(shown)} more leaks: -v shows them")]]
    return lines


def _wait_lines(waits: Sequence[Wait], everything: bool) -> Iterator[Line]:
    longest = sorted(waits, key=lambda wait: wait.began - wait.ended)
    if longest:
        whole = format_seconds(sum(wait.ended - wait.began for wait in waits))
        text = f"gpuguard: {count(len(waits), 'wait')} for a lease, {whole} in all, longest "
        last = f"{format_seconds(longest[0].ended - longest[0].began)}, {longest[0].worker}"
        name = tail(_short(longest[0].nodeid), WIDTH - len(text) - len(last) - 3)
        yield [Piece(f"{text}{last} ({name})" if len(name) > 3 else f"{text}{last}", "warn")]
    for wait in longest[:_MOST_GROUPS] if everything else ():
        after = wait.blocked_by[-1] if wait.blocked_by else ""
        yield from _field(
            format_seconds(wait.ended - wait.began),
            f"{_short(wait.nodeid)}  {wait.worker}, {wait.end}" + (f", after {after}" if after else ""),
        )


def closing_lines(report: RunReport, verbosity: int = 0) -> list[Line]:
    """Return the waits, and what was watched, so that silence is never taken for health."""
    unable = sorted({worker.unable for worker in report.workers if worker.unable})
    lines = [[Piece(f"gpuguard: no wait could be ended: {printable(why)}", "bad")] for why in unable]
    lines += [[Piece(f"gpuguard: {printable(note)}", "warn")] for note in report.notes]
    return [*lines, *_wait_lines(report.waits, verbosity > 0), _watched(report)]


def _watched(report: RunReport) -> Line:
    if report.settings["leaks"].value == "off":
        return [Piece("gpuguard: leaks=off, so nothing is said about what was left behind", "dim")]
    seen = ", ".join(count(probe.seen, probe.kind) for probe in report.probes) or "nothing"
    known = sum(probe.known for probe in report.probes)
    kept = f" ({known} kept by libraries)" if known else ""
    text = f"gpuguard: {seen} seen{kept} in {count(len(report.tests), 'test')}"
    return [
        Piece(text if report.groups else f"{text}, nothing left behind", "dim" if report.groups else "good")
    ]
