"""What cutting a batch costs on the processor: ``python -m benchmarks.chunked``.

The same Lorenz batch through `BatchSolver`, whole and in chunks in turns; the least of several times each,
as a ratio. Exits with 1 when a ratio is over its goal.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from solver import BatchSolver, Chunks, Problem

GOAL = 1.10
"""Time in chunks over time in one piece, for chunks of 10 ms and more."""


def lorenz(t: float, y: tuple[float, ...], p: tuple[float, ...]) -> tuple[float, ...]:
    """Return the slope of the Lorenz system, rho as parameter."""
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


def measure(n_runs: int, n_saved: int, chunks: int, repeats: int) -> tuple[float, float]:
    """Return the least seconds of the batch in one piece and in chunks."""
    problem, rho = Problem(lorenz, 3, 1), np.linspace(0.0, 21.0, n_runs)[:, None]
    saveat = np.linspace(0.0, 1.0, n_saved) if n_saved else None
    out = np.zeros((n_saved or 1, 3, n_runs)).transpose(2, 0, 1)
    seconds: dict[int, list[float]] = {1: [], chunks: []}
    for count, times in list(seconds.items()) * (repeats + 1):
        with BatchSolver(problem, backend="cpu", memory_limit=Chunks(count)) as solver:
            times.append(solver.solve((1.0, 0.0, 0.0), rho, (0.0, 1.0), saveat=saveat, out=out).stats.seconds)
    # The first ones compiled.
    whole, cut = (min(times[1:]) for times in seconds.values())
    return whole, cut


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400_000, help="of the batch without save points")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    worst = 0.0
    print("  runs  saved  chunks    whole s   chunks s   ratio")
    for n_saved, n_runs in ((0, options.runs), (100, options.runs // 8)):
        for chunks in (2, 5):
            whole, cut = measure(n_runs, n_saved, chunks, options.repeats)
            worst = max(worst, cut / whole)
            print(f"{n_runs:6} {n_saved:6} {chunks:7} {whole:10.4f} {cut:10.4f} {cut / whole:7.3f}")
    print(f"worst {worst:.3f}, goal {GOAL}")
    return int(worst > GOAL)


if __name__ == "__main__":
    sys.exit(main())
