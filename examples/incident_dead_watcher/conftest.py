"""A solver whose watcher dies at the first event, as it did on hardware and never in the simulator."""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import pytest

from examples.common.lorenz import BACKEND, LORENZ, solve_lorenz
from solver import BatchSolver, Chunks, Fault


@pytest.fixture
def solver():
    """Return a solver that has nothing to do yet."""
    return BatchSolver(LORENZ, method="rk4", backend=BACKEND, memory_limit=Chunks(2), fault=Fault.DIES)


@pytest.fixture
def solved_solver(solver):
    """Return a solver that has solved a batch; it never comes to that."""
    solve_lorenz(solver)
    return solver
