"""The processor: Python threads over slices of the batch, with compiled code that releases the GIL.

Threads start only when the rest of the batch is worth it, judged by the time that its first runs took: a
small batch costs nothing extra. How the batch is cut changes no bit of the result.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HostDevice", "available_cores", "run_block"]

PROBE_RUNS = 256
"""Runs made first, to learn what one costs."""
WORTH_THREADS = 2e-3
"""Seconds of expected work from which threads pay: starting and joining two took 0.1 to 0.3 ms."""
SLICES_PER_THREAD = 4
"""Slices of a batch or chunk for each thread. More would even out better what runs cost, but cost themselves:
with 8, a batch in 5 chunks took a tenth longer."""


@dataclass(frozen=True)
class HostDevice:
    """Where a batch is solved without a device: in place, with neither streams nor copies.

    Attributes
    ----------
    mode
        ``"cpu"`` for compiled code in SIMD lanes, ``"python"`` for the same text interpreted.
    threads
        How many; ``None`` for `available_cores`.
    """

    mode: Literal["cpu", "python"] = "cpu"
    threads: int | None = None

    @property
    def least_slice(self) -> int:
        """Fewest runs between two looks at whether to go on."""
        return 64 if self.mode == "cpu" else 1


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_block(
    block: Callable[..., None], n_runs: int, arguments: tuple[Any, ...], threads: int | None = None
) -> None:
    """Make all runs of a batch with ``block(lo, hi, *arguments)``.

    Parameters
    ----------
    block
        A program of `solver.codegen.programs.program`.
    n_runs
        Number of runs.
    arguments
        In the order of `solver.numerics.recipe.ARGUMENTS`.
    threads
        How many threads; None for `available_cores`.
    """
    threads = available_cores() if threads is None else threads
    if threads == 1:
        block(0, n_runs, *arguments)
    else:
        run_slices(block, (0, n_runs), arguments, threads)


def run_slices(
    block: Callable[..., None],
    bounds: tuple[int, int],
    arguments: tuple[Any, ...],
    threads: int,
    least: int = 64,
    halted: Callable[[], bool] = lambda: False,
) -> None:
    """Make the runs of ``bounds`` with ``block``, looking between slices whether to go on.

    Parameters
    ----------
    block, arguments
        As of `run_block`.
    bounds
        First run, and the one after the last.
    threads
        How many threads.
    least
        Fewest runs of a slice.
    halted
        Whether to leave the rest undone.
    """
    start, stop = bounds
    probe = min(stop, start + max(least, PROBE_RUNS if least > 1 else 1))
    begun = time.perf_counter()
    block(start, probe, *arguments)
    expected = (time.perf_counter() - begun) / max(probe - start, 1) * (stop - probe)
    if probe == stop or halted():
        return
    if expected < WORTH_THREADS:
        block(probe, stop, *arguments)
        return
    size = max(least, -(-(stop - probe) // (threads * SLICES_PER_THREAD)))
    # Slices are taken when a thread is free, not dealt out: runs differ in cost. next() on a count is atomic
    # under the GIL.
    upcoming = itertools.count(probe, size)
    over = threading.Event()

    def work() -> None:
        while not (over.is_set() or halted()) and (lo := next(upcoming)) < stop:
            block(lo, min(lo + size, stop), *arguments)

    if threads == 1:
        work()
    else:
        _in_threads(work, threads, over)


def _in_threads(work: Callable[[], None], threads: int, over: threading.Event) -> None:
    with ThreadPoolExecutor(threads, thread_name_prefix="solver-cpu") as pool:
        try:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
        finally:
            # Also when the caller is interrupted: the pool waits for its threads, and they for this.
            over.set()
