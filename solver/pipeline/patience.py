"""Deadlines that start anew at every sign of progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solver.devices.clock import Clock

__all__ = ["SLICE", "Patience"]

SLICE = 0.05
"""Longest time in seconds that any wait sleeps before it looks at the world again."""


class Patience:
    """How much longer to wait for something that is allowed to take long but not to stand still.

    A big batch may take an hour, and a fixed deadline would either cut it off or come far too late when
    its first chunk hangs. Work is finite, so a wait that ends `seconds` after the last progress always ends.

    Parameters
    ----------
    seconds
        Longest time without progress; ``None`` waits for ever (only the faults of
        :mod:`solver.pipeline.faults` do).
    clock
        What the seconds are counted by.
    """

    def __init__(self, seconds: float | None, clock: Clock) -> None:
        self.seconds = seconds
        self._clock = clock
        self._progress: object = None
        self._since = self._clock.now()

    def left(self, progress: object = None) -> float:
        """Return how long to sleep now, at most :data:`SLICE`; zero or less when patience is at its end.

        Parameters
        ----------
        progress
            Anything that changes when something moves, such as a counter.
        """
        if progress != self._progress:
            self._progress, self._since = progress, self._clock.now()
        if self.seconds is None:
            return SLICE
        return min(SLICE, self._since + self.seconds - self._clock.now())
