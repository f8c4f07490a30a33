"""The five runs of the demo: what is run, what it shows, what must come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.cli.watched import Outcome
    from pytest_gpuguard.report.model import RunReport

__all__ = ["ACTS", "Act", "UnexpectedError"]


class UnexpectedError(Exception):
    """A run did not come out as the demo promises."""


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise UnexpectedError(otherwise)


_CULPRIT, _INNOCENT = "chunked_solved_solver", "unchunked_solved_solver"


@dataclass(frozen=True, slots=True)
class Act:
    """One run.

    Attributes
    ----------
    title, story
        A line for the table, and what to look at.
    suite
        Folder below ``examples``.
    options
        What is put on pytest's command line.
    limit
        Seconds after which it is killed.
    judge
        Says in a few words what came out, or raises UnexpectedError with what should have.
    """

    title: str
    story: str
    suite: str
    judge: Callable[[Outcome], str] = field(repr=False)
    options: tuple[str, ...] = ()
    limit: float = 60.0


def _report(outcome: Outcome) -> RunReport:
    _expect(not outcome.killed, "it was expected to end by itself, but had to be killed")
    if outcome.report is None:
        raise UnexpectedError("it left no report")
    return outcome.report


def _tests(outcome: Outcome) -> str:
    return f"{len(outcome.finished)} of {outcome.total or '?'} tests"


def _hangs(outcome: Outcome) -> str:
    _expect(outcome.killed, "it was expected to hang, but it ended by itself")
    return f"HANGS: {_tests(outcome)} in {outcome.seconds:.0f} s, nobody named"


def _names_the_leak(outcome: Outcome) -> str:
    report = _report(outcome)
    _expect(outcome.status == 1, f"exit status 1 was expected, got {outcome.status}")
    groups = [
        group
        for group in report.groups
        if "WritebackWatcher" in group.title
        and (fixture := group.leaks[0].origin.fixture)
        and fixture.name == _CULPRIT
    ]
    _expect(groups, f"no leak of WritebackWatcher was put down to fixture {_CULPRIT}")
    blamed = {
        leak.origin.fixture.name for group in report.groups for leak in group.leaks if leak.origin.fixture
    }
    _expect(_INNOCENT not in blamed, f"the innocent fixture {_INNOCENT} was blamed")
    return f"WritebackWatcher of {_CULPRIT} named, {groups[0].totals.occurrences} times"


def _ends_and_names(outcome: Outcome) -> str:
    named = _names_the_leak(outcome)
    return f"ENDS: {_tests(outcome)}, {named}"


def _ends_the_waiting(outcome: Outcome) -> str:
    _names_the_leak(outcome)
    ended = _report(outcome).verdict.tests_ended
    _expect(ended, "no waiting test was ended")
    return f"ENDS: {_tests(outcome)}, {ended} waiting ones ended with who held what"


def _breaks_the_wait(outcome: Outcome) -> str:
    broken = [death for death in _report(outcome).deaths if death.interrupted and "TypeError" in death.error]
    _expect(broken, "no wait for a dead thread was broken")
    return f"ENDS: {_tests(outcome)}, {len(broken)} waits broken, cause {broken[0].error.partition(':')[0]}"


def _is_clean(outcome: Outcome) -> str:
    _expect(outcome.status == 0, f"exit status 0 was expected, got {outcome.status}")
    _expect(not _report(outcome).groups, "a clean suite was blamed")
    return f"CLEAN: {_tests(outcome)} passed, nothing left behind"


ACTS = (
    Act(
        "bare",
        "The incident as it was: a fixture returns a solver and nobody stops its watcher thread,\n"
        "which keeps pinned memory. After a few tests every worker waits for memory for ever.",
        "incident",
        _hangs,
        ("-p", "no:gpuguard"),
        limit=14.0,
    ),
    Act(
        "guarded, reap",
        "The same suite: each leak is reported, then stopped, and the run goes on to its end.",
        "incident",
        _ends_and_names,
        ("--gpuguard", "--gpuguard-leaks=error", "--gpuguard-settle=0.5s", "--gpuguard-reap"),
    ),
    Act(
        "guarded, stall-end",
        "Without reap the memory stays taken. Tests that wait without progress are ended,\n"
        "and say who held what.",
        "incident",
        _ends_the_waiting,
        ("--gpuguard", "--gpuguard-leaks=error", "--gpuguard-settle=0.5s", "--gpuguard-stall-end=2.5s"),
    ),
    Act(
        "dead watcher, guarded",
        "The true cause of the hang: the watcher dies of an exception and the test polls for\n"
        "work that nobody will do. The wait is broken, with the exception as its cause.",
        "incident_dead_watcher",
        _breaks_the_wait,
        ("--gpuguard", "--gpuguard-settle=1s"),
    ),
    Act(
        "fixed, guarded",
        "The remedy: the fixture yields and closes, the watcher is an honest one.",
        "incident_fixed",
        _is_clean,
        ("--gpuguard", "--gpuguard-leaks=error"),
    ),
)
