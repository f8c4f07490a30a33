"""A sweep of the Lorenz system, as an example: ``python -m solver``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def lorenz(t: float, y: Sequence[float], p: Sequence[float]) -> tuple[float, ...]:
    """Return the slope of the Lorenz system, with p = (sigma, rho, beta)."""
    return (p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2])


def main(arguments: list[str] | None = None) -> int:
    """Solve the sweep, print some of it, and return the exit code.

    Parameters
    ----------
    arguments
        Of the command line; ``None`` for the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m solver", description="Sweep rho of the Lorenz system.")
    parser.add_argument("--runs", type=int, default=1000, help="values of rho between 0.5 and 21")
    parser.add_argument("--chunks", type=int, default=4, help="pieces that the batch is cut into")
    parser.add_argument("--method", default="tsit5", help="an adaptive method")
    parser.add_argument("--backend", default="auto", help="auto, cuda, sim, cpu or python")
    options = parser.parse_args(arguments)
    if options.backend == "sim":
        # Read when numba's CUDA target is first imported.
        os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")
    from solver import BatchSolver, Chunks, Problem

    rho = np.linspace(0.5, 21.0, options.runs)
    problem = Problem(lorenz, n_states=3, n_params=3)
    params = np.column_stack([np.full_like(rho, 10.0), rho, np.full_like(rho, 8.0 / 3.0)])
    limit = Chunks(options.chunks)
    with BatchSolver(problem, method=options.method, backend=options.backend, memory_limit=limit) as solver:
        solution = solver.solve((1.0, 0.0, 0.0), params, (0.0, 1.0), progress=sys.stderr.isatty())
        device = solver.device.mode
    print("   rho        x        y        z  steps")  # noqa: T201
    for run in np.linspace(0, options.runs - 1, min(8, options.runs)).astype(int):
        x, y, z = solution.ys[run, -1]
        print(f"{rho[run]:6.2f} {x:8.4f} {y:8.4f} {z:8.4f} {solution.accepted[run]:6}")  # noqa: T201
    stats = solution.stats
    print(  # noqa: T201
        f"{options.runs} runs, {solution.describe()}: {stats.steps} steps and {stats.rejected} rejected on "
        f"'{device}' in {stats.chunks} chunks of at most {stats.chunk_runs}: {stats.seconds:.2f} s; "
        f"{stats.pinned_bytes} bytes pinned, {stats.device_bytes} on the device"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
