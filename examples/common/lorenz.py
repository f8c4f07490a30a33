"""The batch that the incident's suites solve: Lorenz systems, each run with a parameter of its own."""

from __future__ import annotations

import os

import numba.cuda  # noqa: F401 - takes a second, which the first test should not pay
import numpy as np

from solver import BatchSolver, Problem, Solution

__all__ = ["BACKEND", "LORENZ", "PARAMS", "RUNS", "SAVED", "STARTS", "solve_lorenz"]

BACKEND = "sim" if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else "cuda"
"""The incident is one of pinned memory: it needs a device, or the simulation of one."""

RUNS = 8
SAVED = np.linspace(0.0, 0.5, 5)
STARTS = np.tile((1.0, 0.0, 0.0), (RUNS, 1))
PARAMS = np.column_stack([np.full(RUNS, 10.0), np.linspace(0.5, 21.0, RUNS), np.full(RUNS, 8.0 / 3.0)])


def lorenz(t, y, p):
    """Return the slope of the Lorenz system."""
    return (p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2])


LORENZ = Problem(lorenz, n_states=3, n_params=3)


def solve_lorenz(solver: BatchSolver) -> Solution:
    """Solve the batch with a solver."""
    return solver.solve(STARTS, PARAMS, (0.0, 0.5), dt=0.05, saveat=SAVED)
