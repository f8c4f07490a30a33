"""What decisions look at: the tests that wait, the workers with what they have, the budget between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from pytest_gpuguard.plan.durations import Durations
from pytest_gpuguard.plan.lane import Lane, Shares, Worker
from pytest_gpuguard.plan.suite import unserved
from pytest_gpuguard.plan.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need, Suite

__all__ = ["Picture"]


class Picture(Generic[Worker]):
    """A run as the scheduler sees it.

    Parameters
    ----------
    suite, needs
        The tests, and what they need as one process has it.
    limits
        The whole of each resource.
    known
        Seconds that tests took before, by index.
    workers
        How many there will be.
    clock
        The time in seconds.
    """

    def __init__(
        self,
        suite: Suite,
        needs: Sequence[Need],
        limits: Amounts,
        known: Mapping[int, float],
        workers: int,
        clock: Callable[[], float],
    ) -> None:
        self.suite, self.limits, self.clock = suite, limits, clock
        self.lanes: dict[Worker, Lane[Worker]] = {}
        self.shares = Shares(limits, suite.needs)
        self.durations = Durations(known, suite.needs)
        seconds = self.durations.beforehand(suite.size)
        self.waiting = Waiting(suite, unserved(needs, limits), limits, seconds, workers)

    def open(self, worker: Worker, needs: Sequence[Need]) -> None:
        """Add a worker; ``needs`` are those of the suite, as they are there."""
        self.lanes[worker] = lane = Lane(worker)
        lane.needs = unserved(needs, self.limits)

    def others(self, lane: Lane[Worker]) -> list[Lane[Worker]]:
        """Return all workers but one."""
        return [other for other in self.lanes.values() if other is not lane]

    def sent(self, lane: Lane[Worker], test: int) -> None:
        """Note that a worker is sent a test."""
        if not lane.pending:
            lane.since = self.clock()
        lane.pending.append(test)
        self.durations.count(lane, test, 1)
        if test in self.suite.needs:
            lane.heavy.append(test)
        if test != lane.loose:
            lane.loose = None
        self.shares.commit(lane)

    def over(self, lane: Lane[Worker], test: int, seconds: float) -> None:
        """Note that a test is over, after ``seconds``."""
        if lane.pending[0] == test:
            lane.pending.popleft()
        else:
            lane.pending.remove(test)
        lane.since = self.clock()
        self.durations.learn(test, seconds)
        self.durations.count(lane, test, -1)
        if lane.heavy and lane.heavy[0] == test:
            lane.heavy.popleft()
        self.shares.commit(lane)

    def returned(self, lane: Lane[Worker], tests: Sequence[int]) -> None:
        """Note that a worker has given tests back."""
        lane.asked = frozenset()
        for test in tests:
            self.durations.count(lane, test, -1)
        lane.forget(frozenset(tests))
        self.shares.commit(lane)
