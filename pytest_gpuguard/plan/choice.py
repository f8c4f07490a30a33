"""Which of the tests that wait a worker is sent next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from pytest_gpuguard.plan.endgame import Endgame
from pytest_gpuguard.plan.lane import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.plan.kinds import Bucket
    from pytest_gpuguard.plan.lane import Lane
    from pytest_gpuguard.plan.picture import Picture
    from pytest_gpuguard.plan.suite import Amounts

__all__ = ["Choice"]

# Of groups that do not fit, so many are tried.
_TRIED = 8


class Choice(Generic[Worker]):
    """Takes tests from those that wait, such as fit beside what the other workers may hold."""

    def __init__(self, picture: Picture[Worker]) -> None:
        self._picture, self._endgame = picture, Endgame(picture)
        self._needs, self._shares, self._waiting = picture.suite.needs, picture.shares, picture.waiting
        # The worker for whose group a part of the budget is kept free, and that part.
        self._reserved: tuple[Lane[Worker], Amounts] | None = None

    def next_for(self, lane: Lane[Worker]) -> int | None:
        """Take the test that a worker with one at most is sent next; None when there is none for now."""
        # What it has in its hand begins when it is told what follows.
        if lane.heavy and not self._shares.fits(lane, lane.heavy):
            return None
        test = self._from_group(lane)
        if test is None:
            test = self._most_urgent(lane)
        if test is None and not self._endgame.no_help(lane):
            test = self._any_other(lane)
        return test

    def _any_other(self, lane: Lane[Worker]) -> int | None:
        waiting = self._waiting
        test = self.free_for(lane)
        if test is not None:
            return test
        if waiting.long:
            return waiting.take_long()
        if waiting.only_last and waiting.last and self._fits(lane, waiting.last[0]):
            return waiting.take_last()
        if lane.pending and (spare := self._spare(lane)) is not None:
            # It does not fit beside what the others hold, but it need not begin before it does.
            lane.loose = waiting.take_heavy(spare)
            return lane.loose
        return None

    def free_for(self, lane: Lane[Worker]) -> int | None:
        """Take a short test without a need."""
        found = self._waiting.take_free(lane.key, self._keys())
        if found is None:
            return None
        test, lane.key = found
        return test

    def anything_for(self, lane: Lane[Worker]) -> int | None:
        """Take whatever comes first, although it does not fit: the lease decides when it begins."""
        waiting = self._waiting
        if not lane.own and waiting.groups:
            lane.own = waiting.take_group(waiting.groups[0])
        if lane.own:
            return lane.own.popleft()
        if waiting.heavy:
            return waiting.take_heavy(waiting.heavies()[0])
        return waiting.take_last() if waiting.last else None

    def in_line_for(self, lane: Lane[Worker]) -> int | None:
        """Take a test with a need that takes nothing more of the budget here, and has no room elsewhere."""
        others = self._picture.others(lane)
        for bucket in self._heavies(lane):
            test = bucket.tests[0]
            if self._shares.within(lane, test) and not any(self._fits(other, test) for other in others):
                return self._waiting.take_heavy(bucket)
        return None

    def awaits(self, lane: Lane[Worker]) -> bool:
        """Return whether a test with a need would fit: it is sent as soon as little else is before it."""
        if not self._waiting.heavy:
            return False
        return any(self._fits(lane, bucket.tests[0]) for bucket in self._heavies(lane))

    def forget(self, lane: Lane[Worker]) -> None:
        """Keep nothing free for a worker that is gone."""
        if self._reserved is not None and self._reserved[0] is lane:
            self._reserved = None

    # What fits.

    def _fits(self, lane: Lane[Worker], test: int) -> bool:
        if test not in self._needs and not lane.heavy:
            return True
        beside = self._reserved[1] if self._reserved is not None and self._reserved[0] is not lane else None
        return self._shares.fits(lane, (*lane.heavy, test), beside if test in self._needs else None)

    def _keys(self) -> set[str | None]:
        return {lane.key for lane in self._picture.lanes.values()} if self._picture.suite.affinity else set()

    # In the order in which it is tried.

    def _from_group(self, lane: Lane[Worker]) -> int | None:
        if not lane.own:
            return None
        if self._fits(lane, lane.own[0]):
            self.forget(lane)
            return lane.own.popleft()
        if self._reserved is None:
            need = lane.needs[self._needs[lane.own[0]]]
            self._reserved = lane, need.amounts
        return None

    def _most_urgent(self, lane: Lane[Worker]) -> int | None:
        """Take what takes longest to get through: a group, tests with a need in all, or one long test."""
        waiting, durations = self._waiting, self._picture.durations
        found: list[tuple[float, Callable[[Lane[Worker]], int | None]]] = []
        if waiting.groups and not lane.own:
            found.append((waiting.groups[0].seconds, self._begin_group))
        if waiting.heavy:
            found.append((waiting.heavy_seconds, self._heaviest))
        if waiting.long and not self._endgame.no_help(lane):
            found.append((durations.of(waiting.long[0]), lambda _: waiting.take_long()))
        found.sort(key=lambda entry: -entry[0])
        for _, take in found:
            test = take(lane)
            if test is not None:
                return test
        return None

    def _begin_group(self, lane: Lane[Worker]) -> int | None:
        for unit in list(self._waiting.groups)[:_TRIED]:
            if self._fits(lane, unit.tests[0]):
                lane.own = self._waiting.take_group(unit)
                return lane.own.popleft()
        return None

    def _heaviest(self, lane: Lane[Worker]) -> int | None:
        for bucket in self._heavies(lane):
            if self._fits(lane, bucket.tests[0]):
                lane.key = bucket.key or lane.key
                return self._waiting.take_heavy(bucket)
        return None

    def _heavies(self, lane: Lane[Worker]) -> list[Bucket]:
        others = (other.heavy for other in self._picture.others(lane))
        sent = {self._needs[test] for heavy in others for test in heavy} if self._waiting.late else ()
        return self._waiting.heavies(lane.key, sent)

    def _spare(self, lane: Lane[Worker]) -> Bucket | None:
        """Return the smallest tests that keep nothing which this worker does not keep already."""
        kinds = ((bucket, lane.needs[bucket.kind or 0]) for bucket in reversed(self._heavies(lane)))
        return next((bucket for bucket, need in kinds if need.kept.keys() <= lane.kept.keys()), None)
