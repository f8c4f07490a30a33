"""Whether a worker is still of use when few tests are left."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["no_help"]


def no_help(mine: float, rest: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether the others are done with ``rest`` before this worker could be done with one of it.

    A worker does not begin the test in its hand before it is told what follows. Near the end it is better to
    tell it that nothing follows than to give it one more test that somebody else would begin earlier.

    Parameters
    ----------
    mine
        Seconds that this worker is busy.
    rest
        What is left, in the order in which it is given out.
    others
        Seconds that each of the others is busy.
    """
    if not rest or not others:
        return False
    busy = [max(0.0, seconds) for seconds in others]
    heapq.heapify(busy)
    end = 0.0
    for seconds in rest:
        done = heapq.heappop(busy) + seconds
        end = max(end, done)
        heapq.heappush(busy, done)
    return mine + rest[0] >= end
