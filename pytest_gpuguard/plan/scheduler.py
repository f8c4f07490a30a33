"""Which worker is sent which test, and when: pure, with workers as names and tests as numbers.

The budget is shared out by *commitments*: what a worker may hold until it is told something more. Their sum
never passes a limit, so that no test waits for a lease because of this run. Whoever was given a large test
may always be given another of its size, its neighbour may not and takes tests without a need: the large ones
line up on few workers by themselves.

Here is what happens at each event. :mod:`~pytest_gpuguard.plan.dispatch` serves one worker with what
:mod:`~pytest_gpuguard.plan.choice` takes for it, of what :mod:`~pytest_gpuguard.plan.picture` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from pytest_gpuguard.plan.dispatch import Dispatch, Door
from pytest_gpuguard.plan.lane import Worker
from pytest_gpuguard.plan.picture import Picture

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping, Sequence

    from pytest_gpuguard.plan.lane import Lane
    from pytest_gpuguard.plan.suite import Amounts, Need, Suite

__all__ = ["Door", "Scheduler"]


class Scheduler(Generic[Worker]):
    """Decides at every event.

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
    door, clock
        The way to them, and the time in seconds.
    chunk
        The most tests that are sent at once; two at least.
    """

    def __init__(
        self,
        suite: Suite,
        needs: Sequence[Need],
        limits: Amounts,
        known: Mapping[int, float],
        workers: int,
        door: Door[Worker],
        clock: Callable[[], float],
        chunk: int | None = None,
    ) -> None:
        self._picture: Picture[Worker] = Picture(suite, needs, limits, known, workers, clock)
        self._dispatch = Dispatch(self._picture, door, max(2, chunk) if chunk is not None else suite.size)
        self._lanes, self._waiting = self._picture.lanes, self._picture.waiting
        self._stopped = False
        #: Tests that are not over.
        self.left = suite.size

    # Events.

    def ready(self, worker: Worker, needs: Sequence[Need] = ()) -> None:
        """Let a worker have tests from now on; ``needs`` are those of the suite, as they are there."""
        self._picture.open(worker, needs)

    def go(self) -> None:
        """Send what can be sent."""
        for lane in sorted(self._lanes.values(), key=lambda lane: len(lane.pending)):
            if len(lane.pending) < 2:
                self._dispatch.refill(lane)
        self._unblock()

    def complete(self, worker: Worker, test: int, seconds: float) -> None:
        """Note that a test is over, after ``seconds``."""
        lane = self._lanes[worker]
        self._picture.over(lane, test, seconds)
        self.left -= 1
        if self._dispatch.is_low(lane):
            self._dispatch.refill(lane)
        if self._dispatch.blocked:
            self._retry()

    def give_back(self, worker: Worker, tests: Sequence[int]) -> None:
        """Take tests back from a worker that was asked for them; it answers with none if one had begun."""
        lane = self._lanes.get(worker)
        if lane is None:
            return
        self._picture.returned(lane, tests)
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
        self._dispatch.forget(lane)
        rest, crashed = list(lane.pending), None
        if rest and begun(rest[0]):
            crashed = rest.pop(0)
            self.left -= 1
        self._picture.shares.drop(lane)
        self._put_back([*rest, *lane.own])
        return crashed

    def again(self, test: int) -> None:
        """Run a test once more that was over."""
        self.left += 1
        self._put_back([test])
        self.go()

    def stop(self) -> None:
        """Send no more tests, and take back what can be taken back."""
        self._waiting.clear()
        for lane in self._lanes.values():
            lane.own.clear()
            rest = list(lane.pending)[2:]
            if rest and not lane.ending and not lane.asked:
                self._dispatch.ask_back(lane, rest)
        self._recount()
        self._stopped = True

    def _recount(self) -> None:
        self.left = sum(len(lane.pending) for lane in self._lanes.values())

    # What comes back.

    def _put_back(self, tests: Sequence[int]) -> None:
        if self._stopped:
            self._recount()
        else:
            self._waiting.put_back(tests, self._home)

    def _home(self, name: str) -> deque[int] | None:
        """Return the queue of the worker that is at a group."""
        group_of = self._waiting.group_of
        for lane in self._lanes.values():
            if not lane.ending and any(group_of(test) == name for test in (*lane.pending, *lane.own)):
                return lane.own
        return None

    # Those that wait.

    def _retry(self) -> None:
        blocked = self._dispatch.blocked
        for lane in sorted(blocked, key=lambda lane: len(lane.pending)):
            if lane in blocked:
                self._dispatch.refill(lane)
        self._unblock()

    def _unblock(self) -> None:
        """Go on although nothing fits: nobody runs, and only what workers keep to their end is in the way."""
        blocked = self._dispatch.blocked
        while self.left and blocked and not any(map(self._soon_gives_back, self._lanes.values())):
            keepers = [lane for lane in blocked if lane.kept and not lane.own]
            if len(blocked) > 1 and keepers:
                self._dispatch.end(max(keepers, key=lambda lane: lane.commitment.total()))
                return
            self._dispatch.force(max(blocked, key=self._in_hand))

    def _in_hand(self, lane: Lane[Worker]) -> tuple[int, float]:
        # The largest first: after what is sent behind another's it might have no room.
        return len(lane.pending), max(map(self._waiting.share, lane.heavy), default=0.0)

    @staticmethod
    def _soon_gives_back(lane: Lane[Worker]) -> bool:
        # What one that was ended keeps is free when it is gone, which is heard of.
        return lane.running or (lane.ending and lane.commitment.total() > 0)
