"""What a suite would come to with more and fewer workers, in words: each a run in virtual time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_gpuguard.plan.rehearsal import Rehearsal
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need, Suite

__all__ = ["plan_lines"]

_WORKERS = (1, 2, 4, 8)
_LARGEST = 5


def plan_lines(
    suite: Suite, needs: Sequence[Need], limits: Amounts, ids: Sequence[str], known: Mapping[int, float]
) -> list[str]:
    """Return what the scheduler goes by, and the expected peak for several numbers of workers.

    Parameters
    ----------
    ids
        Names of the tests.
    known
        Seconds that tests took before, by index.
    """
    if suite.plain:
        return ["no test has a need or a group: left to xdist"] if suite.size else []
    return [*_groups(suite), *_needs(suite, needs, ids), "", *_table(suite, needs, limits, known)]


def _groups(suite: Suite) -> list[str]:
    lines = [
        f"group {name}: {len(members)} tests"
        for name, members in sorted(suite.groups.items(), key=lambda entry: -len(entry[1]))
    ]
    if suite.affinity:
        tests = sum(map(len, suite.affinity.values()))
        lines.append(f"session parameters: {len(suite.affinity)} sets among {tests} tests")
    if suite.last:
        lines.append(f"last, since they end the CUDA context: {len(suite.last)} tests")
    return lines


def _needs(suite: Suite, needs: Sequence[Need], ids: Sequence[str]) -> list[str]:
    tests = Counter(suite.needs.values())
    first: dict[int, int] = {}
    for test, number in sorted(suite.needs.items()):
        first.setdefault(number, test)
    lines = []
    for number in sorted(tests, key=lambda number: -max(needs[number].amounts.values(), default=0)):
        more = f" and {tests[number] - 1} more" if tests[number] > 1 else ""
        kept = sum(map(Counter, needs[number].kept.values()), Counter[str]())
        stays = f", and {_text(kept)} from then on" if kept else ""
        lines.append(f"need {_text(needs[number].amounts)}{stays}: {ids[first[number]]}{more}")
    rest = f"needs of {len(lines) - _LARGEST} more kinds"
    return lines if len(lines) <= _LARGEST + 1 else [*lines[:_LARGEST], rest]


def _text(amounts: Amounts) -> str:
    named = {name: amount for name, amount in amounts.items() if name != "pinned.regions"}
    return ", ".join(f"{_amount(name, amount)} {name}" for name, amount in named.items()) or "nothing"


def _amount(name: str, amount: int) -> str:
    return format_bytes(amount) if name == "pinned" or name.startswith("gpu") else str(amount)


def _table(suite: Suite, needs: Sequence[Need], limits: Amounts, known: Mapping[int, float]) -> list[str]:
    typical = sum(known.values()) / len(known) if known else 1.0
    seconds = [known.get(test, typical) for test in range(suite.size)]
    lines = []
    for workers in _WORKERS:
        done = Rehearsal(suite, needs, limits, seconds, workers, known).run()
        peaks = [
            f"{_amount(name, amount)} {name}"
            + (f" of {_amount(name, limits[name])}" if name in limits else "")
            for name, amount in sorted(done.peak.items())
            if name != "pinned.regions" and amount
        ]
        took = f"{format_seconds(done.span)}, " if known else ""
        lines.append(f"-n {workers}: {took}expected peak {', '.join(peaks) or 'nothing'}")
    how = (
        f"times of {len(known)} of {suite.size} tests are known from runs before"
        if known
        else ("no times are known: each test is taken to be as long as any other")
    )
    return [*lines, how]
