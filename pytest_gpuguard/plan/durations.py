"""What tests take: as runs before have measured it, else as those of their kind took so far in this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_gpuguard.plan.lane import Lane, Worker

__all__ = ["Durations"]

# Nothing is known of the first tests: few of them are sent.
_FIRST_GUESS = 0.05
_LEARNS = 0.05


class Durations:
    """Seconds of tests, and of all that a worker was sent.

    Parameters
    ----------
    known
        Seconds that tests took before, by index.
    kinds
        Number of the need of each test that has one.
    """

    def __init__(self, known: Mapping[int, float], kinds: Mapping[int, int]) -> None:
        self._known, self._kinds = known, kinds
        # Of tests of which nothing is known: by kind, for those with a need are another sort.
        self._averages: dict[int | None, float] = {None: _FIRST_GUESS}

    def beforehand(self, size: int) -> list[float]:
        """Return what each of ``size`` tests will take: all the same where nothing is known of any."""
        typical = sum(self._known.values()) / len(self._known) if self._known else 1.0
        return [self._known.get(test, typical) for test in range(size)]

    def learn(self, test: int, seconds: float) -> None:
        """Note what a test has taken."""
        kind = self._kinds.get(test)
        average = self._averages.get(kind)
        if average is None:
            self._averages[kind] = seconds
        else:
            self._averages[kind] = average + _LEARNS * (seconds - average)

    def of(self, test: int) -> float:
        """Return what a test will take."""
        known = self._known.get(test)
        if known is not None:
            return known
        return self._averages.get(self._kinds.get(test), self._averages[None])

    def of_all(self, tests: Iterable[int]) -> float:
        """Return what tests will take, one after the other."""
        return sum(map(self.of, tests))

    def of_sent(self, lane: Lane[Worker]) -> float:
        """Return what all that a worker has been sent will take, without walking through it."""
        light = lane.known + lane.unknown * self._averages[None]
        return light + self.of_all(lane.heavy) if lane.heavy else light

    def count(self, lane: Lane[Worker], test: int, sign: int) -> None:
        """Count a test for a worker that was sent it (1), or has it no more (-1)."""
        if test in self._kinds:
            return
        seconds = self._known.get(test)
        if seconds is None:
            lane.unknown += sign
        else:
            lane.known += sign * seconds
