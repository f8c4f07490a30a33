"""Which worker is sent which test, and when: pure, with workers as names and tests as numbers.

The budget is shared out by *commitments*: what a worker may hold until it is told something more. Their sum
never passes a limit, so that no test waits for a lease because of this run. Whoever was given a large test
may always be given another of its size, its neighbour may not and takes tests without a need: the large ones
line up on few workers by themselves.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pytest_gpuguard.plan.endgame import no_help
from pytest_gpuguard.plan.lane import Lane, Shares, Worker
from pytest_gpuguard.plan.suite import unserved
from pytest_gpuguard.plan.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need, Suite
    from pytest_gpuguard.plan.waiting import Bucket

__all__ = ["Door", "Scheduler"]

# A worker is sent more when it has less than this to do, up to twice as much: short tests by hundreds, long
# ones one by one.
_LOW_SECONDS = 0.2
# Nothing is known of the first tests: few of them are sent.
_FIRST_GUESS = 0.05
_LEARNS = 0.05
# Of groups that do not fit, so many are tried.
_TRIED = 8


_Whose_contra = TypeVar("_Whose_contra", contravariant=True)


class Door(Protocol[_Whose_contra]):
    """The way to the workers."""

    def send(self, worker: _Whose_contra, tests: Sequence[int]) -> None:
        """Put tests at the end of a worker's queue."""

    def steal(self, worker: _Whose_contra, tests: Sequence[int]) -> None:
        """Ask for tests back; :meth:`Scheduler.give_back` is the answer."""

    def end(self, worker: _Whose_contra) -> None:
        """Tell a worker that nothing follows; it runs what it has."""


class Scheduler(Generic[Worker]):
    """Decides at every event.

    Parameters
    ----------
    suite
        The tests.
    limits
        The whole of each resource.
    known
        Seconds that tests took before, by index.
    workers
        How many there will be.
    door, clock
        The way to them, and the time in seconds.
    chunk
        The most tests that are sent at once; two at least.
    """

    def __init__(
        self,
        suite: Suite,
        limits: Amounts,
        known: Mapping[int, float],
        workers: int,
        door: Door[Worker],
        clock: Callable[[], float],
        chunk: int | None = None,
    ) -> None:
        self._suite, self._limits, self._known, self._workers = suite, limits, known, workers
        self._door, self._clock = door, clock
        self._chunk = max(2, chunk) if chunk is not None else suite.size
        # Seconds that tests take of which nothing is known: by kind, for those with a need are another sort.
        self._averages: dict[int | None, float] = {None: _FIRST_GUESS}
        self._lanes: dict[Worker, Lane[Worker]] = {}
        self._shares = Shares(limits, suite.needs)
        self._waiting: Waiting | None = None
        self._blocked: set[Lane[Worker]] = set()
        # The worker for whose group a part of the budget is kept free, and that part.
        self._reserved: tuple[Lane[Worker], Amounts] | None = None
        #: Tests that are not over.
        self.left = suite.size

    # Events.

    def ready(self, worker: Worker, needs: Sequence[Need] = ()) -> None:
        """Let a worker have tests from now on; ``needs`` are those of the suite, as they are there."""
        lane = Lane(worker)
        lane.needs = unserved(needs, self._limits)
        self._lanes[worker] = lane
        if self._waiting is None:
            typical = sum(self._known.values()) / len(self._known) if self._known else 1.0
            seconds = [self._known.get(test, typical) for test in range(self._suite.size)]
            self._waiting = Waiting(self._suite, lane.needs, self._limits, seconds, self._workers)

    def go(self) -> None:
        """Send what can be sent."""
        for lane in sorted(self._lanes.values(), key=lambda lane: len(lane.pending)):
            if len(lane.pending) < 2:
                self._refill(lane)
        self._unblock()

    def complete(self, worker: Worker, test: int, seconds: float) -> None:
        """Note that a test is over, after ``seconds``."""
        lane = self._lanes[worker]
        if lane.pending[0] == test:
            lane.pending.popleft()
        else:
            lane.pending.remove(test)
        lane.since = self._clock()
        self._learn(self._suite.needs.get(test), seconds)
        self.left -= 1
        self._account(lane, test, -1)
        if lane.heavy and lane.heavy[0] == test:
            lane.heavy.popleft()
        self._shares.commit(lane)
        if len(lane.pending) < 2 or self._seconds(lane) < _LOW_SECONDS:
            self._refill(lane)
        if self._blocked:
            self._retry()

    def give_back(self, worker: Worker, tests: Sequence[int]) -> None:
        """Take tests back from a worker that was asked for them; it answers with none if one had begun."""
        lane = self._lanes.get(worker)
        if lane is None:
            return
        lane.asked = frozenset()
        gone = frozenset(tests)
        for test in gone:
            self._account(lane, test, -1)
        lane.pending = deque(test for test in lane.pending if test not in gone)
        lane.heavy = deque(test for test in lane.heavy if test not in gone)
        self._shares.commit(lane)
        self._put_back(tests)
        self.go()

    def remove(self, worker: Worker, begun: Callable[[int], bool]) -> int | None:
        """Forget a worker that is gone.

        Parameters
        ----------
        begun
            Whether a test had begun. One that had not is nobody's fault, and is run elsewhere.

        Returns
        -------
        int or None
            The test in which the worker died. It is over.
        """
        lane = self._lanes.pop(worker, None)
        if lane is None:
            return None
        self._blocked.discard(lane)
        if self._reserved is not None and self._reserved[0] is lane:
            self._reserved = None
        rest, crashed = list(lane.pending), None
        if rest and begun(rest[0]):
            crashed = rest.pop(0)
            self.left -= 1
        self._shares.drop(lane)
        self._put_back([*rest, *lane.own])
        return crashed

    def again(self, test: int) -> None:
        """Run a test once more that was over."""
        self.left += 1
        self._put_back([test])
        self.go()

    def stop(self) -> None:
        """Send no more tests, and take back what can be taken back."""
        if self._waiting is not None:
            self._waiting.clear()
        for lane in self._lanes.values():
            lane.own.clear()
            rest = list(lane.pending)[2:]
            if rest and not lane.ending and not lane.asked:
                self._ask_back(lane, rest)
        self._recount()
        self._stopped = True

    _stopped = False

    def _recount(self) -> None:
        self.left = sum(len(lane.pending) for lane in self._lanes.values())

    # What waits.

    def _put_back(self, tests: Sequence[int]) -> None:
        if self._waiting is None:
            return
        if self._stopped:
            self._recount()
            return
        self._waiting.put_back(tests, self._home)

    def _home(self, name: str) -> deque[int] | None:
        """Return the queue of the worker that is at a group."""
        assert self._waiting is not None
        for lane in self._lanes.values():
            if not lane.ending and any(
                self._waiting.group_of(test) == name for test in (*lane.pending, *lane.own)
            ):
                return lane.own
        return None

    # One worker.

    def _learn(self, kind: int | None, seconds: float) -> None:
        average = self._averages.get(kind)
        if average is None:
            self._averages[kind] = seconds
        else:
            self._averages[kind] = average + _LEARNS * (seconds - average)

    def _seconds(self, lane: Lane[Worker]) -> float:
        """Return what all that a worker has been sent will take."""
        light = lane.known + lane.unknown * self._averages[None]
        return light + self._length(lane.heavy) if lane.heavy else light

    def _length(self, tests: Iterable[int]) -> float:
        return sum(map(self._estimate, tests))

    def _estimate(self, test: int) -> float:
        known = self._known.get(test)
        if known is not None:
            return known
        return self._averages.get(self._suite.needs.get(test), self._averages[None])

    def _account(self, lane: Lane[Worker], test: int, sign: int) -> None:
        if test in self._suite.needs:
            return
        seconds = self._known.get(test)
        if seconds is None:
            lane.unknown += sign
        else:
            lane.known += sign * seconds

    def _refill(self, lane: Lane[Worker]) -> None:
        if lane.ending or self._waiting is None:
            self._blocked.discard(lane)
            return
        sent: list[int] = []
        while len(lane.pending) < 2 and (test := self._next(lane)) is not None:
            self._take(lane, test, sent)
        if len(lane.pending) > 1:
            self._go_ahead(lane, sent)
            if not lane.heavy and not self._awaited(lane):
                self._fill(lane, sent)
        if sent:
            self._door.send(lane.worker, sent)
        if len(lane.pending) > 1:
            self._blocked.discard(lane)
        else:
            self._finish(lane)

    def _take(self, lane: Lane[Worker], test: int, sent: list[int]) -> None:
        if not lane.pending:
            lane.since = self._clock()
        sent.append(test)
        lane.pending.append(test)
        self._account(lane, test, 1)
        if test in self._suite.needs:
            lane.heavy.append(test)
        if test != lane.loose:
            lane.loose = None
        self._shares.commit(lane)

    def _go_ahead(self, lane: Lane[Worker], sent: list[int]) -> None:
        """Send more of the group that a worker is at: nobody else may run it, and answers take a while."""
        while lane.own and self._seconds(lane) < 2 * _LOW_SECONDS and len(lane.pending) < self._chunk:
            if lane.own[0] in self._suite.needs:
                return
            self._take(lane, lane.own.popleft(), sent)
        if len(lane.pending) == len(lane.heavy) == 2 and not lane.own and lane.loose is None:
            self._line_up(lane, sent)

    def _line_up(self, lane: Lane[Worker], sent: list[int]) -> None:
        """Send a third test with a need, if it takes nothing more of the budget and has no room elsewhere."""
        assert self._waiting is not None
        others = [other for other in self._lanes.values() if other is not lane]
        for bucket in self._heavies(lane):
            test = bucket.tests[0]
            if self._shares.within(lane, test) and not any(self._fits(other, test) for other in others):
                self._take(lane, self._waiting.take_heavy(bucket), sent)
                return

    def _fill(self, lane: Lane[Worker], sent: list[int]) -> None:
        """Send tests without a need: enough for a while, and at most the worker's part of what is left."""
        assert self._waiting is not None
        most = min(self._waiting.count // (2 * len(self._lanes)), self._chunk)
        while len(lane.pending) < most and self._seconds(lane) < 2 * _LOW_SECONDS:
            found = None if lane.own else self._waiting.take_free(lane.key, self._keys())
            if found is None:
                return
            test, lane.key = found
            self._take(lane, test, sent)

    def _awaited(self, lane: Lane[Worker]) -> bool:
        """Return whether a test with a need would fit: it is sent as soon as little else is before it."""
        assert self._waiting is not None
        if not self._waiting.heavy:
            return False
        return any(self._fits(lane, bucket.tests[0]) for bucket in self._heavies(lane))

    def _keys(self) -> set[str | None]:
        return {lane.key for lane in self._lanes.values()} if self._suite.affinity else set()

    def _fits(self, lane: Lane[Worker], test: int) -> bool:
        if test not in self._suite.needs and not lane.heavy:
            return True
        beside = self._reserved[1] if self._reserved is not None and self._reserved[0] is not lane else None
        return self._shares.fits(lane, (*lane.heavy, test), beside if test in self._suite.needs else None)

    # The next test for a worker that has one at most.

    def _next(self, lane: Lane[Worker]) -> int | None:
        """Take the test that ``lane`` is sent next; None when there is none for now."""
        waiting = self._waiting
        assert waiting is not None
        # What it has in its hand begins when it is told what follows.
        if lane.heavy and not self._shares.fits(lane, lane.heavy):
            return None
        test = self._from_group(lane)
        if test is None:
            test = self._most_urgent(lane)
        if test is None and not self._no_help(lane):
            found = waiting.take_free(lane.key, self._keys())
            if found is not None:
                test, lane.key = found
            elif waiting.long:
                test = waiting.take_long()
            elif waiting.only_last and waiting.last and self._fits(lane, waiting.last[0]):
                test = waiting.take_last()
            elif lane.pending and (spare := self._spare(lane)) is not None:
                # It does not fit beside what the others hold, but it need not begin before it does.
                test = lane.loose = waiting.take_heavy(spare)
        return test

    def _from_group(self, lane: Lane[Worker]) -> int | None:
        if not lane.own:
            return None
        if self._fits(lane, lane.own[0]):
            if self._reserved is not None and self._reserved[0] is lane:
                self._reserved = None
            return lane.own.popleft()
        if self._reserved is None:
            need = lane.needs[self._suite.needs[lane.own[0]]]
            self._reserved = lane, need.amounts
        return None

    def _most_urgent(self, lane: Lane[Worker]) -> int | None:
        """Take what takes longest to get through: a group, tests with a need in all, or one long test."""
        waiting = self._waiting
        assert waiting is not None
        found: list[tuple[float, Callable[[Lane[Worker]], int | None]]] = []
        if waiting.groups and not lane.own:
            found.append((waiting.groups[0].seconds, self._begin_group))
        if waiting.heavy:
            found.append((waiting.heavy_seconds, self._heaviest))
        if waiting.long and not self._no_help(lane):
            found.append((self._estimate(waiting.long[0]), lambda _: waiting.take_long()))
        found.sort(key=lambda entry: -entry[0])
        for _, take in found:
            test = take(lane)
            if test is not None:
                return test
        return None

    def _begin_group(self, lane: Lane[Worker]) -> int | None:
        assert self._waiting is not None
        for unit in list(self._waiting.groups)[:_TRIED]:
            if self._fits(lane, unit.tests[0]):
                lane.own = self._waiting.take_group(unit)
                return lane.own.popleft()
        return None

    def _heavies(self, lane: Lane[Worker]) -> list[Bucket]:
        assert self._waiting is not None
        others = (other.heavy for other in self._lanes.values() if other is not lane)
        sent = {self._suite.needs[test] for heavy in others for test in heavy} if self._waiting.late else ()
        return self._waiting.heavies(lane.key, sent)

    def _heaviest(self, lane: Lane[Worker]) -> int | None:
        assert self._waiting is not None
        for bucket in self._heavies(lane):
            if self._fits(lane, bucket.tests[0]):
                lane.key = bucket.key or lane.key
                return self._waiting.take_heavy(bucket)
        return None

    def _spare(self, lane: Lane[Worker]) -> Bucket | None:
        """Return the smallest tests that keep nothing which this worker does not keep already."""
        kinds = ((bucket, lane.needs[bucket.kind or 0]) for bucket in reversed(self._heavies(lane)))
        return next((bucket for bucket, need in kinds if need.kept.keys() <= lane.kept.keys()), None)

    def _no_help(self, lane: Lane[Worker]) -> bool:
        """Return whether the others get through all that is left before this worker could help."""
        waiting = self._waiting
        assert waiting is not None
        if not lane.pending or lane.own:
            return False
        if waiting.heavy and waiting.only_heavy:
            return all(self._is_for_others(lane, bucket.tests[0]) for bucket in waiting.heavy)
        if waiting.groups or waiting.heavy or waiting.last or waiting.shared:
            return False
        rest = (*waiting.long, *waiting.free)
        if len(rest) > 2 * len(self._lanes):
            return False
        busy = [
            self._seconds(other) + self._length(other.own) - (self._clock() - other.since) * other.running
            for other in self._lanes.values()
            if other is not lane and not other.ending
        ]
        return no_help(self._seconds(lane), [self._estimate(test) for test in rest], busy)

    def _is_for_others(self, lane: Lane[Worker], test: int) -> bool:
        """Return whether ``test`` has no room here beside what others keep, but on one of them without us."""
        others = [other for other in self._lanes.values() if other is not lane]
        return self._shares.barred(lane, test, others) and any(
            not other.ending
            and not self._shares.barred(other, test, [third for third in others if third is not other])
            for other in others
        )

    # The end of a worker.

    def _finish(self, lane: Lane[Worker]) -> None:
        """End a worker for which there is nothing more; block one that must wait."""
        assert self._waiting is not None
        self._blocked.add(lane)
        if not (lane.pending or lane.own or lane.kept or self._waiting.count or self._steals_for(lane)):
            # It is not ended: whatever another leaves when it dies, it can run.
            self._blocked.discard(lane)
            return
        if lane.own or (self._waiting.count and not self._no_help(lane)) or self._steals_for(lane):
            return
        if self._shares.fits(lane, lane.heavy):
            self._end(lane)

    def _end(self, lane: Lane[Worker]) -> None:
        self._blocked.discard(lane)
        lane.ending, lane.loose = True, None
        self._shares.commit(lane)
        self._door.end(lane.worker)

    def _steals_for(self, lane: Lane[Worker]) -> bool:
        """Ask the worker that has most for the second half of what can be taken back."""
        if any(other.asked for other in self._lanes.values()):
            return True
        assert self._waiting is not None
        rich = max(
            (other for other in self._lanes.values() if other is not lane and not other.ending),
            key=lambda other: len(other.pending),
            default=None,
        )
        if rich is None or len(rich.pending) < 4:
            return False
        tail = [test for test in list(rich.pending)[2:] if self._waiting.group_of(test) is None]
        if not tail:
            return False
        self._ask_back(rich, tail[len(tail) // 2 :])
        return True

    def _ask_back(self, lane: Lane[Worker], tests: Sequence[int]) -> None:
        lane.asked = frozenset(tests)
        self._door.steal(lane.worker, tests)

    # Those that wait.

    def _retry(self) -> None:
        for lane in sorted(self._blocked, key=lambda lane: len(lane.pending)):
            if lane in self._blocked:
                self._refill(lane)
        self._unblock()

    def _unblock(self) -> None:
        """Go on although nothing fits: nobody runs, and only what workers keep to their end is in the way."""
        while self.left and self._blocked and not any(map(self._soon_gives_back, self._lanes.values())):
            keepers = [lane for lane in self._blocked if lane.kept and not lane.own]
            if len(self._blocked) > 1 and keepers:
                self._end(max(keepers, key=lambda lane: lane.commitment.total()))
                return
            self._force(max(self._blocked, key=self._in_hand))

    def _in_hand(self, lane: Lane[Worker]) -> tuple[int, float]:
        # The largest first: after what is sent behind another's it might have no room.
        assert self._waiting is not None
        return len(lane.pending), max(map(self._waiting.share, lane.heavy), default=0.0)

    @staticmethod
    def _soon_gives_back(lane: Lane[Worker]) -> bool:
        # What one that was ended keeps is free when it is gone, which is heard of.
        return lane.running or (lane.ending and lane.commitment.total() > 0)

    def _force(self, lane: Lane[Worker]) -> None:
        """Send whatever is next; the lease decides then."""
        assert self._waiting is not None
        if lane.own:
            test = lane.own.popleft()
        elif self._waiting.groups:
            lane.own = self._waiting.take_group(self._waiting.groups[0])
            test = lane.own.popleft()
        elif self._waiting.heavy:
            test = self._waiting.take_heavy(self._waiting.heavies()[0])
        elif self._waiting.last:
            test = self._waiting.take_last()
        else:
            self._end(lane)
            return
        sent: list[int] = []
        self._take(lane, test, sent)
        self._door.send(lane.worker, sent)
        self._blocked.discard(lane)
        if len(lane.pending) < 2:
            self._refill(lane)
