"""When few tests are left: whether a worker is still of use, and what an idle one may take from another."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic

from pytest_gpuguard.plan.lane import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.plan.lane import Lane
    from pytest_gpuguard.plan.picture import Picture

__all__ = ["Endgame", "no_help"]


def no_help(mine: float, rest: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether the others are done with ``rest`` before this worker could be done with one of it.

    A worker does not begin the test in its hand before it is told what follows. Near the end it is better to
    tell it that nothing follows than to give it one more test that somebody else would begin earlier.

    Parameters
    ----------
    mine
        Seconds that this worker is busy.
    rest
        What is left, in the order in which it is given out.
    others
        Seconds that each of the others is busy.
    """
    if not rest or not others:
        return False
    busy = [max(0.0, seconds) for seconds in others]
    heapq.heapify(busy)
    end = 0.0
    for seconds in rest:
        done = heapq.heappop(busy) + seconds
        end = max(end, done)
        heapq.heappush(busy, done)
    return mine + rest[0] >= end


class Endgame(Generic[Worker]):
    """What the picture says of the end of a run."""

    def __init__(self, picture: Picture[Worker]) -> None:
        self._picture = picture

    def no_help(self, lane: Lane[Worker]) -> bool:
        """Return whether the others get through all that is left before this worker could help."""
        waiting, durations = self._picture.waiting, self._picture.durations
        if not lane.pending or lane.own:
            return False
        if waiting.heavy and waiting.only_heavy:
            return all(self._is_for_others(lane, bucket.tests[0]) for bucket in waiting.heavy)
        if waiting.groups or waiting.heavy or waiting.last or waiting.shared:
            return False
        rest = (*waiting.long, *waiting.free)
        if len(rest) > 2 * len(self._picture.lanes):
            return False
        busy = [self._busy(other) for other in self._picture.others(lane) if not other.ending]
        return no_help(durations.of_sent(lane), [durations.of(test) for test in rest], busy)

    def _busy(self, lane: Lane[Worker]) -> float:
        durations = self._picture.durations
        seconds = durations.of_sent(lane) + durations.of_all(lane.own)
        if not lane.running:
            return seconds
        # A test that should be over by now goes on: as long again as it is late, for all that is known.
        first, passed = durations.of(lane.pending[0]), self._picture.clock() - lane.since
        return seconds - first + abs(first - passed)

    def _is_for_others(self, lane: Lane[Worker], test: int) -> bool:
        """Return whether ``test`` has no room here beside what others keep, but on one of them without us."""
        shares, others = self._picture.shares, self._picture.others(lane)
        return shares.barred(lane, test, others) and any(
            not other.ending
            and not shares.barred(other, test, [third for third in others if third is not other])
            for other in others
        )

    @property
    def asked(self) -> bool:
        """Whether some worker was asked for tests and has not answered: one at a time."""
        return any(other.asked for other in self._picture.lanes.values())

    def richest(self, lane: Lane[Worker]) -> tuple[Lane[Worker], list[int]] | None:
        """Return the worker that has most, and the second half of what can be taken back from it.

        Not what others cannot run, or have no room for: such it was sent with a reason.
        """
        others = (other for other in self._picture.others(lane) if not other.ending)
        rich = max(others, key=lambda other: len(other.pending), default=None)
        if rich is None:
            return None
        waiting, needs = self._picture.waiting, self._picture.suite.needs
        rest = list(rich.pending)[2:]
        tail = [test for test in rest if waiting.group_of(test) is None and test not in needs]
        return (rich, tail[len(tail) // 2 :]) if tail else None
