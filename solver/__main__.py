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
    parser.add_argument("--runs", type=int, default=24, help="values of rho between 0.5 and 28")
    parser.add_argument("--chunks", type=int, default=4, help="pieces that the batch is cut into")
    parser.add_argument("--simulate", action="store_true", help="use numba's simulator even where CUDA works")
    options = parser.parse_args(arguments)
    if options.simulate or not _has_device():
        # Read when numba's CUDA target is first imported.
        os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")
    from solver import BatchSolver, Chunks, Problem

    rho = np.linspace(0.5, 28.0, options.runs)
    params = np.column_stack([np.full_like(rho, 10.0), rho, np.full_like(rho, 8.0 / 3.0)])
    with BatchSolver(Problem(lorenz, 3, 3), memory_limit=Chunks(options.chunks)) as solver:
        solution = solver.solve((1.0, 0.0, 0.0), params, (0.0, 0.5), dt=0.02, progress=sys.stderr.isatty())
        device = solver.device.mode
    print("   rho        x        y        z  status")  # noqa: T201
    for run in range(0, options.runs, max(1, options.runs // 8)):
        x, y, z = solution.ys[run, -1]
        print(f"{rho[run]:6.2f} {x:8.4f} {y:8.4f} {z:8.4f}  {solution.status[run]}")  # noqa: T201
    stats = solution.stats
    print(  # noqa: T201
        f"{options.runs} runs of {stats.steps} steps on '{device}' in {stats.chunks} chunks of at most "
        f"{stats.chunk_runs}: {stats.seconds:.2f} s; {stats.pinned_bytes} bytes pinned, "
        f"{stats.device_bytes} on the device"
    )
    return 0


def _has_device() -> bool:
    """Ask in a process of its own: asking here would settle whether numba simulates."""
    import subprocess

    code = "import sys, numba.cuda; sys.exit(not numba.cuda.is_available())"
    probe = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=120)
    return probe.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
