"""Lines on what is no leak: dead threads, stalls, faults, leases that were not had, and waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.report.levels import in_bytes, memory_text, peaks
from pytest_gpuguard.report.lines import WIDTH, Piece, count, field, head, short, tail
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuguard.report.lines import Line
    from pytest_gpuguard.report.model import Death, Fault, Origin, RunReport, Stall, Wait, Worker

__all__ = ["budget_lines", "last_stalls", "trouble_blocks"]

MOST_BLOCKS = 5
# Seconds; shorter waits are only summed up unless more is asked for.
_WORTH_A_LINE = 1.0


def _more(number: int) -> Iterator[Line]:
    if number > MOST_BLOCKS:
        yield from field("", f"and {number - MOST_BLOCKS} more, see the report")


def _made_by(origin: Origin | None) -> str:
    if origin is None:
        return "before the first test"
    fixture = f"fixture `{origin.fixture.name}` ({origin.fixture.scope})" if origin.fixture else "the test"
    return f"{fixture}, {short(origin.nodeid)}" if origin.nodeid else fixture


def _death_lines(deaths: Sequence[Death]) -> Iterator[Line]:
    """Yield a block for each cause of which threads died under a test."""
    by_cause: dict[tuple[str, str], list[Death]] = {}
    for death in deaths:
        by_cause.setdefault((death.target, death.error), []).append(death)
    for (target, error), members in list(by_cause.items())[:MOST_BLOCKS]:
        broken = sum(death.interrupted for death in members)
        qualname = target.rpartition(":")[2]
        yield head("DIED", f"thread {qualname}", f", {count(len(members), 'time')}", "GPG110")
        yield from field("of", error, "bad")
        yield from field("by", _made_by(members[0].origin))
        yield from field("in", f"{short(members[0].nodeid)}  {members[0].worker}")
        if broken:
            was = "was" if broken == 1 else "were"
            yield from field("", f"{count(broken, 'test')} waited for it and {was} ended")
    yield from _more(len(by_cause))


def last_stalls(stalls: Sequence[Stall]) -> list[Stall]:
    """Return the last that is known of each test without progress, those that were ended first."""
    by_test = {(stall.worker, stall.nodeid): stall for stall in stalls}
    return sorted(by_test.values(), key=lambda stall: not stall.ended)


def _stall_lines(stalls: Sequence[Stall]) -> Iterator[Line]:
    """Yield a block for each test that was ended, or, where none was, for each slow one."""
    found = last_stalls(stalls)
    ended = [stall for stall in found if stall.ended]
    for stall in (ended or found)[:MOST_BLOCKS]:
        yield head("ENDED" if stall.ended else "SLOW", short(stall.nodeid), "", "GPG601")
        idle = format_seconds(stall.idle_s)
        yield from field("in", f"{stall.phase}  {stall.worker}, no progress for {idle}")
        if stall.how:
            yield from field("how", stall.how)
        for edge in stall.edges[:MOST_BLOCKS]:
            yield from field("waits", f"{edge.waiter} for {edge.resource} of {edge.holder}")
        if stall.stacks:
            yield from field("stacks", stall.stacks)
    yield from _more(len(ended or found))


def _fault_lines(faults: Sequence[Fault]) -> Iterator[Line]:
    """Yield a block for each first fault of a process."""
    for fault in faults[:MOST_BLOCKS]:
        yield head("FAULT", f"{fault.worker}, {fault.kind}", "", fault.code)
        yield from field("of", fault.error, "bad")
        if fault.nodeid:
            yield from field("in", short(fault.nodeid))
        if fault.followers:
            later = count(len(fault.followers), "later failure")
            said = "for the same want" if fault.kind == "oom" else "of it are its consequences"
            yield from field("", f"{later} {said}")
        if fault.what:
            yield from field("then", fault.what)
        if fault.state:
            yield from field("state", fault.state)
    yield from _more(len(faults))


def _crash_lines(workers: Sequence[Worker], faults: Sequence[Fault]) -> Iterator[Line]:
    """Yield a block for each worker that died, unless its fault says it already."""
    said = {fault.worker for fault in faults if fault.kind != "oom"}
    crashed = [worker for worker in workers if worker.end in {"crashed", "killed"} and worker.id not in said]
    for worker in crashed[:MOST_BLOCKS]:
        pid = f", pid {worker.pid}" if worker.pid else ""
        yield head("CRASH" if worker.end == "crashed" else "KILLED", f"worker {worker.id}{pid}", "", "")
        if worker.error:
            yield from field("of", worker.error, "bad")
    yield from _more(len(crashed))


_ENDS = {
    "timeout": ("gave up after {}", "GPG301"),
    "deadlock": ("refused: it would have waited for ever", "GPG302"),
}


def _lease_lines(waits: Sequence[Wait]) -> Iterator[Line]:
    """Yield a block for each lease that was not had."""
    bad = [wait for wait in waits if wait.end in _ENDS]
    for wait in bad[:MOST_BLOCKS]:
        said, code = _ENDS[wait.end]
        yield head("LEASE", short(wait.nodeid), f"  {wait.worker}", code)
        asked = memory_text(wait.amounts)
        yield from field(
            "asked for", f"{asked}, {said.format(format_seconds(wait.ended - wait.began))}", "bad"
        )
        for blocker in wait.blockers[:MOST_BLOCKS]:
            word = "held by" if blocker.role == "holder" else "behind"
            age = f" for {format_seconds(blocker.for_s)}" if blocker.for_s is not None else ""
            amounts = memory_text(blocker.holds if blocker.role == "holder" else blocker.wants)
            yield from field(word, f"{blocker.who}: {amounts}{age}")
        for who in () if wait.blockers else wait.blocked_by[:MOST_BLOCKS]:
            yield from field("held by", who)
    yield from _more(len(bad))


def trouble_blocks(report: RunReport) -> list[list[Line]]:
    """Return the blocks on what is no leak, the gravest first."""
    found = (
        _fault_lines(report.faults),
        _crash_lines(report.workers, report.faults),
        _death_lines(report.deaths),
        _stall_lines(report.stalls),
        _lease_lines(report.waits),
    )
    return [block for block in map(list, found) if block]


def budget_lines(report: RunReport, verbosity: int) -> Iterator[Line]:
    """Yield how much of the budget was used at most, and how long it was waited for."""
    for peak in peaks(report.levels):
        limit = report.limits.get(peak.resource)
        if limit and (verbosity > 0 or in_bytes(peak.resource)):
            most, whole = amount_text(peak.resource, peak.amount), amount_text(peak.resource, limit)
            name = tail(peak.resource, 30)
            yield [Piece(f"gpuguard: {name} peak {most} of {whole}", "dim")]
    yield from _wait_lines(report.waits, verbosity > 0)


def _wait_lines(waits: Sequence[Wait], everything: bool) -> Iterator[Line]:
    longest = sorted(waits, key=lambda wait: wait.began - wait.ended)
    if longest:
        whole = format_seconds(sum(wait.ended - wait.began for wait in waits))
        text = f"gpuguard: {count(len(waits), 'wait')} for a lease, {whole} in all, longest "
        last = f"{format_seconds(longest[0].ended - longest[0].began)}, {longest[0].worker}"
        name = tail(short(longest[0].nodeid), WIDTH - len(text) - len(last) - 3)
        yield [Piece(f"{text}{last} ({name})" if len(name) > 3 else f"{text}{last}", "warn")]
    for wait in longest[:MOST_BLOCKS]:
        if not everything and wait.ended - wait.began < _WORTH_A_LINE:
            break
        after = wait.blocked_by[-1] if wait.blocked_by else ""
        yield from field(
            format_seconds(wait.ended - wait.began),
            f"{short(wait.nodeid)}  {wait.worker}, {wait.end}" + (f", after {after}" if after else ""),
        )
