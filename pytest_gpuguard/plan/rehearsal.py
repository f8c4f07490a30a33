"""A run in virtual time: the scheduler as it is, with workers that only pretend.

They follow the rule of the real ones: a test begins when its worker knows the next, or that none follows.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from typing import TYPE_CHECKING

from pytest_gpuguard.plan.scheduler import Scheduler
from pytest_gpuguard.plan.suite import together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need, Suite

__all__ = ["Rehearsal", "lower_bound"]


class _Pretender:
    def __init__(self) -> None:
        self.queue: deque[int] = deque()
        self.current: int | None = None
        self.ending = False
        self.kept: dict[str, dict[str, int]] = {}
        self.held = Counter[str]()


class Rehearsal:
    """One run.

    Parameters
    ----------
    suite, needs, limits
        What there is to run, and to share.
    seconds
        What each test takes, by index.
    workers
        How many there are.
    known
        What the scheduler is told of the durations.
    delay
        Seconds between the end of a test and the answer to it.
    dies
        Returns whether the worker dies in a test.

    Attributes
    ----------
    span
        Seconds from the first to the last.
    peak
        The most of each resource that was held at once.
    ran
        How often each test was begun, by index.
    where
        Which worker began each test, by index.
    crashed
        The tests in which a worker died, as the scheduler says.
    """

    def __init__(
        self,
        suite: Suite,
        needs: Sequence[Need],
        limits: Amounts,
        seconds: Sequence[float],
        workers: int,
        known: Mapping[int, float] | None = None,
        delay: float = 0.0,
        dies: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._suite, self._needs, self._seconds, self._delay, self._dies = suite, needs, seconds, delay, dies
        self._now, self._order = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._held: Counter[str] = Counter()
        self.span, self.peak = 0.0, Counter[str]()
        self.ran, self.where, self.crashed = Counter[int](), dict[int, int](), list[int]()
        self._people: dict[int, _Pretender] = {}
        self._scheduler: Scheduler[int] = Scheduler(
            suite, needs, limits, known or {}, workers, self, lambda: self._now
        )
        for _ in range(workers):
            self._hire()
        self._scheduler.go()

    def run(self) -> Rehearsal:
        """Run to the end; return itself."""
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event()
        return self

    @property
    def left(self) -> int:
        """Tests that the scheduler never got over with."""
        return self._scheduler.left

    def _hire(self) -> None:
        worker = self._next_worker = getattr(self, "_next_worker", -1) + 1
        self._people[worker] = _Pretender()
        self._scheduler.ready(worker, self._needs)

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (self._now + seconds, self._order, event))

    # The door.

    def send(self, worker: int, tests: Sequence[int]) -> None:
        """Deliver tests."""
        self._people[worker].queue.extend(tests)
        self._begin(worker)

    def steal(self, worker: int, tests: Sequence[int]) -> None:
        """Answer with all of the tests or none."""
        person, wanted = self._people[worker], set(tests)
        # The second of those at hand cannot be taken back.
        inside = set(list(person.queue)[1:])
        given = list(tests) if wanted <= inside else []
        person.queue = deque(test for test in person.queue if test not in given)
        self._later(self._delay, lambda: self._scheduler.give_back(worker, given))

    def end(self, worker: int) -> None:
        """Say that nothing follows."""
        self._people[worker].ending = True
        self._begin(worker)

    # The workers.

    def _begin(self, worker: int) -> None:
        person = self._people[worker]
        if person.current is not None:
            return
        if person.ending and not person.queue:
            self._later(self._delay, lambda: self._leave(worker))
            return
        if len(person.queue) < (1 if person.ending else 2):
            return
        test = person.current = person.queue.popleft()
        self.ran[test] += 1
        self.where[test] = worker
        self._hold(worker, test)
        self._later(self._seconds[test], lambda: self._over(worker, test))

    def _hold(self, worker: int, test: int) -> None:
        number = self._suite.needs.get(test)
        if number is None:
            return
        need, person = self._needs[number], self._people[worker]
        person.kept |= need.kept
        self._change(person, together([need.amounts, *person.kept.values()]))
        self.peak |= self._held

    def _change(self, person: _Pretender, held: Counter[str]) -> None:
        """Note what a worker holds from now on."""
        self._held.subtract(person.held)
        person.held = held
        self._held.update(held)

    def _over(self, worker: int, test: int) -> None:
        person = self._people[worker]
        self._change(person, together(person.kept.values()))
        self.span = self._now
        if self._dies(test):
            self._later(self._delay, lambda: self._leave(worker))
            return
        self._later(self._delay, lambda: self._scheduler.complete(worker, test, self._seconds[test]))
        person.current = None
        self._begin(worker)

    def _leave(self, worker: int) -> None:
        person = self._people.pop(worker, None)
        if person is None:
            return
        self._change(person, Counter())
        crashed = self._scheduler.remove(worker, lambda test: test == person.current)
        if crashed is not None:
            self.crashed.append(crashed)
            self._hire()
        self._scheduler.go()


def lower_bound(
    suite: Suite, needs: Sequence[Need], limits: Amounts, seconds: Sequence[float], workers: int
) -> float:
    """Return seconds that no way of running the suite can beat.

    The most of: all work on all workers; the longest group or test; for each resource, amount times time over
    the limit; and all tests that take more than half of it, of which no two can run together.
    """
    chains = [sum(seconds[test] for test in members) for members in suite.groups.values()]
    bounds = [sum(seconds) / workers, max(seconds, default=0.0), *chains]
    for name, limit in limits.items():
        taken = [(needs[number].amounts.get(name, 0), seconds[test]) for test, number in suite.needs.items()]
        bounds.append(sum(amount * time for amount, time in taken) / limit)
        bounds.append(sum(time for amount, time in taken if 2 * amount > limit))
    return max(bounds)
