"""How near the pipeline comes to its bound in real time: ``python -m benchmarks.pipeline``.

Latencies are injected: every stage takes as long as it is told to, so what is measured is what the pipeline
adds, which is threads that wake, events and locks. Two ratios: to the bound of the stages as told, and to
that of the stages as they were (a sleep on a busy machine takes longer). Goals are for the default depth;
with fewer buffers a chunk waits for a thread that waits for a chunk, and each wake-up shows. Exits with 1
when a median is over its goal.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import statistics
import sys

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

from solver import Depth, Stages, Stats
from solver.devices.virtual import Latency, VirtualDevice
from solver.pipeline.bound import bound
from tests.solver.pipelines import doubling, make_kernel

GOALS = ((10.0, 1.05), (2.0, 1.05), (1.0, 1.15), (0.2, 1.5))
"""Milliseconds of a case's shortest stage, and the ratio to the bound that its median may have."""

SHAPES = {
    "balanced": (1, 1, 1, 1),
    "kernel-bound": (1, 4, 1, 1),
    "download-bound": (1, 1, 3, 2),
    "writeback-bound": (1, 1, 2, 4),
}
"""Upload, kernel, download and writeback, in shortest stages."""

_PR_SET_TIMERSLACK = 29

DEPTHS = (Depth(), Depth(2, 2, 1), Depth(1, 1, 1))


def measure(stages: Stages, depth: Depth, chunks: int) -> Stats:
    """Run one batch of so many chunks."""
    latency = Latency(stages.upload, stages.run, stages.download, stages.writeback)
    kernel = make_kernel(VirtualDevice(latency), chunks, depth)
    try:
        return kernel.run(doubling(chunks))[0]
    finally:
        kernel.close()


def _wake_on_time() -> None:
    """Let sleeps of this process end within 1 us of their time: Linux adds 50 us to spare wake-ups."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    _wake_on_time()
    print(
        f"{options.chunks} chunks, median (least) of {options.repeats}; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print("  shortest  case             D K W   bound ms  took ms   as told (least)  as it was   goal")
    over = 0
    for (unit, goal), (name, shape), depth in itertools.product(GOALS, SHAPES.items(), DEPTHS):
        stages = Stages(*(unit * 1e-3 * part for part in shape))
        runs = [measure(stages, depth, options.chunks) for _ in range(options.repeats)]
        best, times = bound(stages, depth, options.chunks), [run.pipeline_seconds for run in runs]
        took, was = statistics.median(times), statistics.median(1 / run.overlap for run in runs)
        missed = depth == Depth() and took > goal * best
        over += missed
        print(
            f"{unit:>7} ms  {name:<16} {depth.sets} {depth.copies} {depth.writers} {best * 1e3:>10.1f} "
            f"{took * 1e3:>8.1f}   {took / best:.3f}  ({min(times) / best:.3f})    {was:.3f}   "
            f"{f'{goal:.2f}' if depth == Depth() else ''}{'  over' if missed else ''}"
        )
    print(f"{over} over their goals" if over else "all within their goals")
    return over > 0


if __name__ == "__main__":
    sys.exit(main())
