"""What is known of one worker: what it was sent, what it may start without another word, what that takes.

A worker starts a test only when it has the next one in its hand, or was told that none follows. So of what
it was sent the last may not start, unless the worker is ending; and only from the third on can be taken back.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_gpuguard.plan.suite import together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need

__all__ = ["Lane", "Shares", "Worker"]

Worker = TypeVar("Worker")


class Lane(Generic[Worker]):
    """One worker, as seen by the scheduler.

    Attributes
    ----------
    pending
        Sent and not over: the first runs or is next to run.
    heavy
        Those of them that have a need.
    own
        The rest of a group that it has begun, not sent so far.
    known, unknown
        Seconds that the other ones will take, and the number of those of which nobody knows.
    since
        When the first of them began, at the earliest.
    key
        What the tests share that it was given last.
    kept
        What it holds to its end, by name.
    commitment
        What it may hold, whatever happens next, until the scheduler says something.
    loose
        A test in its hand for which nothing is kept free.
    asked
        Tests that it was asked to give back, until it answers.
    """

    __slots__ = (
        "asked",
        "commitment",
        "ending",
        "heavy",
        "kept",
        "key",
        "known",
        "loose",
        "needs",
        "own",
        "pending",
        "since",
        "unknown",
        "worker",
    )

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.needs: Sequence[Need] = ()
        self.pending: deque[int] = deque()
        self.heavy: deque[int] = deque()
        self.own: deque[int] = deque()
        self.known, self.unknown, self.since = 0.0, 0, 0.0
        self.key: str | None = None
        self.loose: int | None = None
        self.kept: dict[str, dict[str, int]] = {}
        self.commitment: Counter[str] = Counter()
        self.ending = False
        self.asked: frozenset[int] = frozenset()

    @property
    def running(self) -> bool:
        """Whether it can run without being told anything more."""
        return len(self.pending) > 1 or (self.ending and bool(self.pending))

    def forget(self, tests: Collection[int]) -> None:
        """Drop tests that it was sent and has no more."""
        self.pending = deque(test for test in self.pending if test not in tests)
        self.heavy = deque(test for test in self.heavy if test not in tests)

    def promised(self) -> Iterator[int]:
        """Yield the tests with a need whose need is kept free for it.

        Also for the one in its hand, which it may not start so far: once the running one is over, it has
        something that it can start. But nothing for a worker that cannot start anything.
        """
        return (test for test in self.heavy if self.running and test != self.loose)


class Shares:
    """The budget as the scheduler shares it out: the sum of all commitments never passes a limit.

    Parameters
    ----------
    limits
        The whole of each resource.
    kinds
        Number of the need of each test that has one.
    """

    def __init__(self, limits: Amounts, kinds: Mapping[int, int]) -> None:
        self._limits, self._kinds = limits, kinds
        self.used: Counter[str] = Counter()

    def commit(self, lane: Lane[Worker]) -> None:
        """Count what ``lane`` may hold from now on."""
        if not lane.heavy and not lane.commitment:
            return
        for test in lane.promised():
            lane.kept.update(lane.needs[self._kinds[test]].kept)
        self.used.subtract(lane.commitment)
        lane.commitment = self._together(lane, lane.promised())
        self.used.update(lane.commitment)

    def drop(self, lane: Lane[Worker]) -> None:
        """Count nothing of ``lane`` any more: its process is gone."""
        self.used.subtract(lane.commitment)
        lane.commitment = Counter()

    def fits(self, lane: Lane[Worker], tests: Iterable[int], beside: Amounts | None = None) -> bool:
        """Return whether ``lane`` may start ``tests``, one after the other.

        Parameters
        ----------
        beside
            What must stay free for somebody else.
        """
        wanted = self._together(lane, tests)
        for name, amount in wanted.items():
            others = self.used[name] - lane.commitment[name]
            kept_back = beside.get(name, 0) if beside else 0
            if others + amount + kept_back > self._limits[name]:
                return False
        return True

    def within(self, lane: Lane[Worker], test: int) -> bool:
        """Return whether ``test`` takes nothing beside what is kept free for ``lane``."""
        return self._together(lane, (*lane.heavy, test)) <= lane.commitment

    def barred(self, lane: Lane[Worker], test: int, others: Iterable[Lane[Worker]]) -> bool:
        """Return whether ``test`` cannot run on ``lane`` as long as the others keep what they keep."""
        kept = Counter[str]()
        for other in others:
            kept.update(together(other.kept.values()))
        wanted = self._together(lane, [test])
        return any(kept[name] + amount > self._limits[name] for name, amount in wanted.items())

    def _together(self, lane: Lane[Worker], tests: Iterable[int]) -> Counter[str]:
        most: Counter[str] = Counter()
        kept = dict(lane.kept)
        for test in tests:
            kind = self._kinds.get(test)
            if kind is not None:
                need = lane.needs[kind]
                most |= Counter(need.amounts)
                kept.update(need.kept)
        most = together([most, *kept.values()])
        # What the limits do not name is not shared out.
        return Counter({name: amount for name, amount in most.items() if name in self._limits})
