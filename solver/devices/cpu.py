"""Many runs on all cores: Python threads over slices of the batch, with compiled code that releases the GIL.

Threads start only when the rest of the batch is worth it, judged by the time that its first runs took: a
small batch costs nothing extra. How the batch is cut changes no bit of the result.
"""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["available_cores", "run_block"]

PROBE_RUNS = 256
"""Runs made first, to learn what one costs."""
WORTH_THREADS = 2e-3
"""Seconds of expected work from which threads pay: starting and joining two took 0.1 to 0.3 ms."""
SLICES_PER_THREAD = 8


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
    probe = n_runs if threads == 1 else min(n_runs, PROBE_RUNS)
    begun = time.perf_counter()
    block(0, probe, *arguments)
    rest = n_runs - probe
    expected = (time.perf_counter() - begun) / max(probe, 1) * rest
    if expected < WORTH_THREADS:
        if rest:
            block(probe, n_runs, *arguments)
        return
    _in_threads(block, probe, n_runs, arguments, threads)


def _in_threads(
    block: Callable[..., None], start: int, stop: int, arguments: tuple[Any, ...], threads: int
) -> None:
    size = max(64, -(-(stop - start) // (threads * SLICES_PER_THREAD)))
    # Slices are taken when a thread is free, not dealt out: runs differ in cost. next() on a count is atomic
    # under the GIL.
    upcoming = itertools.count(start, size)

    def work() -> None:
        for lo in _below(upcoming, stop):
            block(lo, min(lo + size, stop), *arguments)

    with ThreadPoolExecutor(threads, thread_name_prefix="solver-cpu") as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def _below(numbers: Iterator[int], stop: int) -> Iterator[int]:
    return itertools.takewhile(lambda number: number < stop, numbers)
