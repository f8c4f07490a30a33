"""Waiting for suspects to go: at once when there are none, with back-off up to a limit otherwise.

A fixed pause is wrong both ways: too long for every clean test, too short on a loaded machine. So the
first look comes without any wait, the pauses double from a fifth of a millisecond, and a collection is
made only when a suspect has survived the first few milliseconds, since it costs more than most tests. And
what may go by itself, such as a thread that is ending, gets as long for that as a collection takes.
"""

from __future__ import annotations

import gc
import math
import os
import sys
from typing import TYPE_CHECKING, TypeVar

from pytest_gpuguard import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["settle", "stretched", "takes_to_collect"]

T = TypeVar("T")

_LONGEST_STRETCH = 2.0

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.05
_COLLECT_AFTER = 0.003
#: Seconds that a full collection takes for each block of memory, about.
_EACH_BLOCK = 5e-8


def stretched(limit: float) -> float:
    """Return ``limit``, longer on a loaded machine: where more want to run than can, all takes longer."""
    try:
        wanting = os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return limit
    return limit * min(max(wanting, 1.0), _LONGEST_STRETCH)


def takes_to_collect() -> float:
    """Return about how long a collection takes, in seconds: tens of milliseconds with large libraries."""
    return sys.getallocatedblocks() * _EACH_BLOCK


def settle(
    suspects: Callable[[], Sequence[T]],
    limit: float,
    *,
    patient: Callable[[T], bool] = lambda _: True,
    clock: Callable[[], float] = clock.monotonic,
    sleep: Callable[[float], object] = clock.sleep,
    collect: Callable[[], object] = gc.collect,
    takes: Callable[[], float] = takes_to_collect,
) -> tuple[Sequence[T], float]:
    """Return the suspects that are still there after at most ``limit`` seconds, and the seconds waited.

    Parameters
    ----------
    suspects
        Looks anew; called again and again until it finds nothing.
    limit
        Longest time a suspect may take to go, in seconds.
    patient
        Tells whether a suspect may go by itself; after a collection the others are not waited for.
    clock, sleep, collect, takes
        The outside world, and how long it takes there to collect.
    """
    left = suspects()
    if not left:
        return left, 0.0
    begun, pause, collected = clock(), _FIRST_PAUSE, False
    later = max(_COLLECT_AFTER, min(takes(), limit / 2))
    # Once more later on: another thread may have held something for a moment, or have been collecting itself.
    again = begun + limit / 2
    while left and (waited := clock() - begun) < limit:
        sleep(min(pause, limit - waited))
        pause = min(2 * pause, _LONGEST_PAUSE)
        if not collected and clock() - begun > (later if all(map(patient, left)) else _COLLECT_AFTER):
            collect()
            collected = True
        elif collected and clock() >= again:
            collect()
            again = math.inf
        number, left = len(left), suspects()
        if collected and not any(map(patient, left)):
            if 0 < len(left) < number:
                # What has just gone, as the thread of an executor, may have held the rest.
                collect()
                left = suspects()
            break
    return left, clock() - begun
