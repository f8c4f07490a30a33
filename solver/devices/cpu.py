"""The processor: Python threads over slices of the batch, with compiled code that releases the GIL.

Threads start only when the rest of the batch is worth it, judged by the time that its first runs took: a
small batch costs nothing extra. How the batch is cut changes no bit of the result.
"""

from __future__ import annotations

import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["HostDevice", "available_cores", "run_block"]

PROBE_RUNS = 256
"""Runs made first, to learn what one costs."""
WORTH_THREADS = 2e-3
"""Seconds of expected work from which threads pay: starting and joining two took 0.1 to 0.3 ms."""
SLICES_PER_THREAD = 4
"""Slices of a batch for each thread. More would even out better what runs cost, but cost themselves."""

Range = tuple[int, int]
"""First run, and the one after the last."""


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
        run_chunks(block, ((0, n_runs),), arguments, threads)


def run_chunks(
    block: Callable[..., None],
    chunks: Sequence[Range],
    arguments: tuple[Any, ...],
    threads: int,
    least: int = 64,
    halted: Callable[[], bool] = lambda: False,
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Make the runs of all chunks with ``block``, looking between slices whether to go on.

    Parameters
    ----------
    block, arguments
        As of `run_block`.
    chunks
        Ranges of runs, each beginning where the one before ends.
    threads
        How many threads.
    least
        Fewest runs of a slice.
    halted
        Whether to leave the rest undone.
    told
        Called by this thread with the number of chunks that are done, from 0 to all; what it raises ends
        everything.
    """
    told(0)
    (start, end), *later = chunks
    probe = min(end, start + max(least, PROBE_RUNS if least > 1 else 1))
    begun = time.perf_counter()
    block(start, probe, *arguments)
    rest = chunks[-1][1] - probe
    expected = (time.perf_counter() - begun) / max(probe - start, 1) * rest
    # Chunks shorter than a slice should be would cost more to hand over than they take.
    if expected < WORTH_THREADS or end - start < least:
        size, threads = max(rest, 1), 1
    else:
        size = max(least, -(-rest // (threads * SLICES_PER_THREAD)))
    slices = [list(_sliced(chunk, size)) for chunk in ((probe, end), *later)]

    def make(lo: int, hi: int) -> None:
        if not halted():
            block(lo, hi, *arguments)

    if threads == 1:
        for done, chunk in enumerate(slices, 1):
            for lo, hi in chunk:
                make(lo, hi)
            told(done)
    else:
        _in_threads(make, slices, threads, told)


def _sliced(bounds: Range, size: int) -> Iterator[Range]:
    """Cut a range into about equal parts of about `size` runs; none when it is empty."""
    lo, hi = bounds
    step = max(-(-(hi - lo) // max(round((hi - lo) / size), 1)), 1)
    return ((at, min(at + step, hi)) for at in range(lo, hi, step))


def _in_threads(
    make: Callable[[int, int], None], slices: list[list[Range]], threads: int, told: Callable[[int], None]
) -> None:
    # Slices are taken when a thread is free, not dealt out: runs differ in cost. Those of all chunks wait in
    # one queue, so that no thread is idle at the end of a chunk. This thread takes its share: if it only
    # waited, it would want a core at times, and keep one of the others from its own for some milliseconds.
    waiting = deque((chunk, part) for chunk, parts in enumerate(slices) for part in parts)
    made: list[list[Range]] = [[] for _ in slices]
    done = 0

    def share(tell: Callable[[], None]) -> None:
        try:
            for chunk, part in _taken(waiting):
                make(*part)
                made[chunk].append(part)
                tell()
        finally:
            # After an error or an interrupt, what no thread has taken is left undone.
            waiting.clear()

    def tell() -> None:
        nonlocal done
        while done < len(slices) and len(made[done]) == len(slices[done]):
            done += 1
            told(done)

    with ThreadPoolExecutor(threads - 1, thread_name_prefix="solver-cpu") as pool:
        try:
            others = [pool.submit(share, lambda: None) for _ in range(threads - 1)]
            share(tell)
            for other in others:
                other.result()
        finally:
            waiting.clear()
    tell()


def _taken(waiting: deque[tuple[int, Range]]) -> Iterator[tuple[int, Range]]:
    """Take from the front, as other threads do, until nothing is left."""
    while True:
        try:
            yield waiting.popleft()
        except IndexError:
            return
