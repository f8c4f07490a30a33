"""How one worker is served: how much it is sent at once, when it waits, when nothing follows for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pytest_gpuguard.plan.choice import Choice
from pytest_gpuguard.plan.endgame import Endgame
from pytest_gpuguard.plan.lane import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.plan.lane import Lane
    from pytest_gpuguard.plan.picture import Picture

__all__ = ["Dispatch", "Door"]

# A worker is sent more when it has less than this to do, up to twice as much: short tests by hundreds, long
# ones one by one.
_LOW_SECONDS = 0.2


_Whose_contra = TypeVar("_Whose_contra", contravariant=True)


class Door(Protocol[_Whose_contra]):
    """The way to the workers."""

    def send(self, worker: _Whose_contra, tests: Sequence[int]) -> None:
        """Put tests at the end of a worker's queue."""

    def steal(self, worker: _Whose_contra, tests: Sequence[int]) -> None:
        """Ask for tests back; they, or none of them, are given back later."""

    def end(self, worker: _Whose_contra) -> None:
        """Tell a worker that nothing follows; it runs what it has."""


class Dispatch(Generic[Worker]):
    """Sends to workers what is chosen for them.

    Parameters
    ----------
    picture
        What there is.
    door
        The way to the workers.
    chunk
        The most tests that are sent at once.

    Attributes
    ----------
    blocked
        Workers that wait until something fits, in the order in which they began to (a set would have none).
    """

    def __init__(self, picture: Picture[Worker], door: Door[Worker], chunk: int) -> None:
        self._picture, self._door, self._chunk = picture, door, chunk
        self._choice, self._endgame = Choice(picture), Endgame(picture)
        self.blocked: dict[Lane[Worker], None] = {}

    def is_low(self, lane: Lane[Worker]) -> bool:
        """Return whether a worker has little to do."""
        return len(lane.pending) < 2 or self._picture.durations.of_sent(lane) < _LOW_SECONDS

    def refill(self, lane: Lane[Worker]) -> None:
        """Send a worker what it is to do next; without anything it waits, or is ended."""
        if lane.ending:
            self.blocked.pop(lane, None)
            return
        sent: list[int] = []
        while len(lane.pending) < 2 and (test := self._choice.next_for(lane)) is not None:
            self._take(lane, test, sent)
        if len(lane.pending) > 1:
            self._go_ahead(lane, sent)
            if not lane.heavy and not self._choice.awaits(lane):
                self._fill(lane, sent)
        if sent:
            self._door.send(lane.worker, sent)
        if len(lane.pending) > 1:
            self.blocked.pop(lane, None)
        else:
            self._finish(lane)

    def force(self, lane: Lane[Worker]) -> None:
        """Send a worker whatever is next; the lease decides then."""
        test = self._choice.anything_for(lane)
        if test is None:
            self.end(lane)
            return
        self._picture.sent(lane, test)
        self._door.send(lane.worker, [test])
        self.blocked.pop(lane, None)
        if len(lane.pending) < 2:
            self.refill(lane)

    def end(self, lane: Lane[Worker]) -> None:
        """Tell a worker that nothing follows."""
        self.blocked.pop(lane, None)
        lane.ending, lane.loose = True, None
        self._picture.shares.commit(lane)
        self._door.end(lane.worker)

    def ask_back(self, lane: Lane[Worker], tests: Sequence[int]) -> None:
        """Ask a worker for tests."""
        lane.asked = frozenset(tests)
        self._door.steal(lane.worker, tests)

    def forget(self, lane: Lane[Worker]) -> None:
        """Do no more for a worker that is gone."""
        self.blocked.pop(lane, None)
        self._choice.forget(lane)

    # How much.

    def _take(self, lane: Lane[Worker], test: int, sent: list[int]) -> None:
        sent.append(test)
        self._picture.sent(lane, test)

    def _go_ahead(self, lane: Lane[Worker], sent: list[int]) -> None:
        """Send more of the group that a worker is at: nobody else may run it, and answers take a while."""
        while lane.own and self._may_have_more(lane, self._chunk):
            if lane.own[0] in self._picture.suite.needs:
                return
            self._take(lane, lane.own.popleft(), sent)
        if len(lane.pending) == len(lane.heavy) == 2 and not lane.own and lane.loose is None:
            test = self._choice.in_line_for(lane)
            if test is not None:
                self._take(lane, test, sent)

    def _fill(self, lane: Lane[Worker], sent: list[int]) -> None:
        """Send tests without a need: enough for a while, and at most the worker's part of what is left."""
        most = min(self._picture.waiting.count // (2 * len(self._picture.lanes)), self._chunk)
        while self._may_have_more(lane, most):
            test = None if lane.own else self._choice.free_for(lane)
            if test is None:
                return
            self._take(lane, test, sent)

    def _may_have_more(self, lane: Lane[Worker], most: int) -> bool:
        return len(lane.pending) < most and self._picture.durations.of_sent(lane) < 2 * _LOW_SECONDS

    # Nothing to send.

    def _finish(self, lane: Lane[Worker]) -> None:
        """End a worker for which there is nothing more; block one that must wait."""
        waiting = self._picture.waiting
        self.blocked[lane] = None
        if not (lane.pending or lane.own or lane.kept or waiting.count or self._takes_back_for(lane)):
            # It is not ended: whatever another leaves when it dies, it can run.
            self.blocked.pop(lane, None)
            return
        if lane.own or (waiting.count and not self._endgame.no_help(lane)) or self._takes_back_for(lane):
            return
        if self._picture.shares.fits(lane, lane.heavy):
            self.end(lane)

    def _takes_back_for(self, lane: Lane[Worker]) -> bool:
        """Return whether tests are being taken back from another; ask for them where there are any."""
        if self._endgame.asked:
            return True
        found = self._endgame.richest(lane)
        if found is not None:
            self.ask_back(*found)
        return found is not None
