"""The solver's own threads, one at a time, in time that passes only when all of them wait.

A rehearsal runs the code of production. Real threads hand a baton to each other; who holds it runs until it
waits. When nobody can run, time jumps to the next thing that is due. So a pipeline of minutes takes
milliseconds, its makespan is exact, and a run can be repeated to the last switch between threads.

With a seed the baton also changes hands, by chance, wherever a lock is taken: another seed, another of the
orders in which threads may meet. A lost wake-up ends in :class:`Standstill` at once.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from solver.devices.clock import Condition, Mailbox

__all__ = ["RehearsalClock", "Standstill"]

_REAL_SECONDS = 60.0
"""Longest real wait for the baton: beyond it some thread must have blocked outside of the rehearsal."""


class Standstill(BaseException):
    """Every thread waits for another one and nothing is due. Not an error that code under test may handle."""


class _Over(BaseException):
    """The rehearsal is at its end, and with it the thread."""


class _Seat:
    """One thread of a rehearsal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Semaphore(0)
        # Counts the waits, so that a timer of an earlier one wakes nobody.
        self.waits = 0
        self.notified = False


class RehearsalClock:
    """See the module. The thread that makes one takes part; others do when started through it.

    Parameters
    ----------
    seed
        For switches by chance; ``None`` switches only where a thread waits.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._chance = None if seed is None else random.Random(seed)
        self._now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _Seat, int]] = []
        self._ready: deque[_Seat] = deque()
        self._main = _Seat("main")
        self._seats = {threading.get_ident(): self._main}
        self._stands_still = False
        self._over = False

    def now(self) -> float:
        """Return the virtual time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let others run until virtual time has come so far."""
        self.park(self._now + max(seconds, 0.0))

    def condition(self) -> Condition:
        """Return a lock by which the threads of this rehearsal wait."""
        return _Condition(self)

    def mailbox(self) -> Mailbox:
        """Return a queue by which they wait."""
        return _Mailbox(self)

    def start(self, target: Callable[..., None], args: tuple[Any, ...], name: str) -> threading.Thread:
        """Start a thread; it runs when the baton comes to it."""
        seat = _Seat(name)

        def play() -> None:
            self._take_turn(seat)
            self._seats[threading.get_ident()] = seat
            try:
                target(*args)
            finally:
                del self._seats[threading.get_ident()]
                self._pass_on()

        def run() -> None:
            with suppress(_Over):
                play()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._ready.append(seat)
        return thread

    def alive(self) -> list[str]:
        """Return the names of all threads but the calling one that have not ended."""
        me = self._seats[threading.get_ident()]
        waiting = {seat for seat in (*self._seats.values(), *self._ready) if seat is not me}
        return sorted(seat.name for seat in waiting)

    def end(self) -> None:
        """Let every thread that still waits end where it is; for tests of what would wait for ever."""
        self._over = True
        for seat in (*self._seats.values(), *self._ready):
            seat.turn.release()

    def here(self) -> _Seat:
        """Return the calling thread's seat."""
        return self._seats[threading.get_ident()]

    def park(self, deadline: float | None) -> bool:
        """Wait for :meth:`wake` or a time, whichever is first; true for the former."""
        seat = self.here()
        seat.waits += 1
        seat.notified = False
        if deadline is not None:
            heapq.heappush(self._timers, (deadline, next(self._order), seat, seat.waits))
        self._pass_on()
        self._take_turn(seat)
        return seat.notified

    def wake(self, seat: _Seat) -> None:
        """Let a parked thread run when its turn comes. Only appends: a finaliser may call it at any point."""
        seat.waits += 1
        seat.notified = True
        self._ready.append(seat)

    def perhaps_switch(self) -> None:
        """Let chance decide whether another thread goes on first."""
        if self._chance is not None and self._ready and self._chance.random() < 0.5:
            self._ready.append(self.here())
            self._pass_on()
            self._take_turn(self.here())

    def _take_turn(self, seat: _Seat) -> None:
        if not seat.turn.acquire(timeout=_REAL_SECONDS):
            message = f"{seat.name} was not given the baton for {_REAL_SECONDS} s: some thread really blocks"
            raise RuntimeError(message)
        if self._over:
            raise _Over
        if seat is self._main and self._stands_still:
            message = (
                f"at {self._now} s all of {[other.name for other in self._seats.values()]} wait for ever"
            )
            raise Standstill(message)

    def _pass_on(self) -> None:
        if self._over:
            raise _Over
        if not self._ready:
            self._let_time_pass()
        if not self._ready:
            self._stands_still = True
            self._ready.append(self._main)
        if self._chance is not None:
            self._ready.rotate(self._chance.randrange(len(self._ready)))
        self._ready.popleft().turn.release()

    def _let_time_pass(self) -> None:
        """Jump to the next time at which anybody wakes; all who do then are ready together."""
        while self._timers and not (self._ready and self._timers[0][0] > self._now):
            due, _, seat, wait = heapq.heappop(self._timers)
            if seat.waits == wait:
                self._now = max(self._now, due)
                seat.waits += 1
                self._ready.append(seat)


class _Condition:
    """A re-entrant lock and those who wait for news under it."""

    def __init__(self, clock: RehearsalClock) -> None:
        self._clock = clock
        self._owner: _Seat | None = None
        self._depth = 0
        self._entering: deque[_Seat] = deque()
        self._waiting: list[_Seat] = []

    def __enter__(self) -> Self:
        me = self._clock.here()
        if self._owner is not me:
            self._clock.perhaps_switch()
            self._enter(me, 0)
        self._depth += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._leave()

    def wait(self, timeout: float | None = None) -> bool:
        me, depth = self._clock.here(), self._depth
        self._waiting.append(me)
        self._leave()
        notified = self._clock.park(None if timeout is None else self._clock.now() + max(timeout, 0.0))
        if not notified:
            self._waiting.remove(me)
        self._enter(me, depth)
        return notified

    def notify_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for seat in waiting:
            self._clock.wake(seat)

    def _enter(self, me: _Seat, depth: int) -> None:
        while self._owner is not None:
            self._entering.append(me)
            self._clock.park(None)
        self._owner, self._depth = me, depth

    def _leave(self) -> None:
        self._owner, self._depth = None, 0
        if self._entering:
            self._clock.wake(self._entering.popleft())


class _Mailbox:
    """A queue whose readers wait in the rehearsal."""

    def __init__(self, clock: RehearsalClock) -> None:
        self._clock = clock
        self._items: deque[Any] = deque()
        self._waiting: deque[_Seat] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._waiting:
            self._clock.wake(self._waiting.popleft())

    def get(self) -> Any:
        self._clock.perhaps_switch()
        while not self._items:
            self._waiting.append(self._clock.here())
            self._clock.park(None)
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items
