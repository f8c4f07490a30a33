"""The tests that no worker has been sent: groups, tests with a need by kind, and all the others in order."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from pytest_gpuguard.plan.kinds import Bucket, late, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need, Suite

__all__ = ["Waiting"]

# A test without a need is sent ahead of its turn when it alone takes this part of what each worker has to do.
_LONG = 0.1


class Waiting:
    """What is left to be sent.

    Parameters
    ----------
    suite
        The tests.
    needs
        As one process has them, to tell large from small.
    limits
        The whole of each resource.
    seconds
        What each test will take, by index: all the same where nothing is known of any.
    workers
        How many there are.
    """

    def __init__(
        self, suite: Suite, needs: Sequence[Need], limits: Amounts, seconds: Sequence[float], workers: int
    ) -> None:
        self._kinds, self._seconds = suite.needs, seconds
        self._group = {test: name for name, members in suite.groups.items() for test in members}
        self._key = {test: key for key, members in suite.affinity.items() for test in members}
        self._last = frozenset(suite.last)
        self._shares = [share_of(need, limits) for need in needs]
        #: Kinds that are begun after others, by number: after which.
        self.late = late(needs, limits)
        self._least = _LONG * sum(seconds) / workers if len(set(seconds)) > 1 else float("inf")
        self.count = 0
        #: Groups that nobody has begun, the longest first.
        self.groups: deque[Bucket] = deque()
        #: Tests with a need, the largest first.
        self.heavy: list[Bucket] = []
        #: Long tests without a need, the longest first.
        self.long: deque[int] = deque()
        self.free: deque[int] = deque()
        self.shared: dict[str, Bucket] = {}
        self.last: deque[int] = deque()
        #: What the tests with a need take of the whole budget, in seconds.
        self.heavy_seconds = 0.0
        self._buckets: dict[tuple[int, str | None], Bucket] = {}
        self._fill(range(suite.size))

    def group_of(self, test: int) -> str | None:
        """Return the name of the group that ``test`` belongs to."""
        return self._group.get(test)

    def share(self, test: int) -> float:
        """Return the largest part of a limit that ``test`` takes."""
        kind = self._kinds.get(test)
        return 0.0 if kind is None else self._shares[kind]

    def length(self, tests: Iterable[int]) -> float:
        """Return what ``tests`` will take, one after the other."""
        return sum(self._seconds[test] for test in tests)

    def _fill(self, tests: Iterable[int]) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for test in tests:
            name = self._group.get(test)
            if name is not None:
                groups[name].append(test)
            else:
                self._add(test)
        units = [self._unit(name, members) for name, members in groups.items()]
        self.groups = deque(sorted(units, key=lambda unit: -unit.seconds))
        for bucket in self.heavy:
            bucket.tests = deque(sorted(bucket.tests, key=lambda test: -self._seconds[test]))
        self.long = deque(sorted(self.long, key=lambda test: -self._seconds[test]))
        # What takes longest to get through is begun first.
        self.shared = dict(sorted(self.shared.items(), key=lambda entry: -entry[1].seconds))

    def _unit(self, name: str, members: Iterable[int]) -> Bucket:
        unit = Bucket(None, name)
        unit.tests.extend(members)
        unit.seconds = self.length(unit.tests)
        self.count += len(unit.tests)
        return unit

    def _add(self, test: int, *, front: bool = False) -> None:
        queue = self._queue_of(test)
        queue.appendleft(test) if front else queue.append(test)
        self.count += 1

    def _queue_of(self, test: int) -> deque[int]:
        if test in self._last:
            return self.last
        kind, key, seconds = self._kinds.get(test), self._key.get(test), self._seconds[test]
        if kind is not None and self._shares[kind]:
            bucket = self._buckets.get((kind, key))
            if bucket is None:
                bucket = self._buckets[kind, key] = Bucket(kind, key, self._shares[kind])
                insort(self.heavy, bucket, key=lambda other: -other.share)
            bucket.seconds += seconds
            self.heavy_seconds += bucket.share * seconds
            return bucket.tests
        if key is not None:
            shared = self.shared.setdefault(key, Bucket(None, key))
            shared.seconds += seconds
            return shared.tests
        return self.long if seconds >= self._least else self.free

    def put_back(self, tests: Sequence[int], home: Callable[[str], deque[int] | None]) -> None:
        """Take tests back that a worker did not run.

        Parameters
        ----------
        home
            Returns the queue of the worker that has the rest of a group, if any has.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for test in reversed(tests):
            name = self._group.get(test)
            if name is None:
                self._add(test, front=True)
            else:
                groups[name].insert(0, test)
        for name, members in groups.items():
            queue = home(name)
            if queue is not None:
                queue.extendleft(reversed(members))
                continue
            rest = next((unit for unit in self.groups if unit.key == name), None)
            if rest is not None:
                self.take_group(rest)
            self.groups.appendleft(self._unit(name, [*members, *(rest.tests if rest else ())]))

    def take_group(self, unit: Bucket) -> deque[int]:
        """Begin a group; its tests are the worker's now."""
        self.groups.remove(unit)
        self.count -= len(unit.tests)
        return unit.tests

    def take_heavy(self, bucket: Bucket) -> int:
        """Take the longest test of a kind."""
        test = bucket.tests.popleft()
        bucket.seconds -= self._seconds[test]
        self.heavy_seconds -= bucket.share * self._seconds[test]
        self.count -= 1
        if not bucket.tests:
            self.heavy.remove(bucket)
            del self._buckets[int(bucket.kind or 0), bucket.key]
        return test

    def take_free(self, key: str | None, taken: Collection[str | None]) -> tuple[int, str | None] | None:
        """Take a test without a need; return it and what it shares with others.

        Parameters
        ----------
        key
            What the last test of this worker shared.
        taken
            What the tests of all workers share.
        """
        bucket = self._shared_for(key, taken) if self.shared else None
        if bucket is not None:
            # From the far end where another worker is at it, which goes on in order.
            mine = bucket.key == key or bucket.key not in taken
            test = bucket.tests.popleft() if mine else bucket.tests.pop()
            bucket.seconds -= self._seconds[test]
            if not bucket.tests:
                del self.shared[str(bucket.key)]
            self.count -= 1
            return test, bucket.key
        if not self.free:
            return None
        self.count -= 1
        return self.free.popleft(), key

    def take_long(self) -> int:
        """Take the longest test without a need."""
        self.count -= 1
        return self.long.popleft()

    def take_last(self) -> int:
        """Take one of those that come when all others are over."""
        self.count -= 1
        return self.last.popleft()

    @property
    def only_last(self) -> bool:
        """Whether all others are over, or sent."""
        return self.count == len(self.last)

    @property
    def only_heavy(self) -> bool:
        """Whether all that are left have a need."""
        return self.count == sum(len(bucket.tests) for bucket in self.heavy)

    def _shared_for(self, key: str | None, taken: Collection[str | None]) -> Bucket | None:
        if key in self.shared:
            return self.shared[key]
        untouched = next((bucket for name, bucket in self.shared.items() if name not in taken), None)
        if untouched is not None or self.free or self.long:
            return untouched
        return max(self.shared.values(), key=lambda bucket: bucket.seconds, default=None)

    def heavies(self, key: str | None = None, sent: Collection[int] = ()) -> list[Bucket]:
        """Return the kinds of tests that are left, the largest first.

        But for those after which a worker keeps so much that others, which do not, would have no room.

        Parameters
        ----------
        key
            Of equals those that share it come first.
        sent
            Kinds of tests that other workers have in their hands.
        """
        kinds = (
            [bucket for bucket in self.heavy if not self._later(bucket, sent)] if self.late else self.heavy
        )
        if key is None:
            return kinds
        return sorted(kinds, key=lambda bucket: (-bucket.share, bucket.key != key))

    def _later(self, bucket: Bucket, sent: Collection[int]) -> bool:
        beside = self.late.get(-1 if bucket.kind is None else bucket.kind, ())
        left = (*sent, *(other.kind for other in self.heavy))
        return any(kind in beside and kind not in self.late for kind in left)

    def clear(self) -> None:
        """Forget everything: the run is to stop."""
        self.heavy, self.shared, self._buckets = [], {}, {}
        for queue in (self.groups, self.free, self.long, self.last):
            queue.clear()
        self.count, self.heavy_seconds = 0, 0.0
