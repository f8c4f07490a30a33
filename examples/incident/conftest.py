"""The incident's fixtures: one of them leaves a watcher thread and its pinned memory behind."""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import pytest

from examples.common.lorenz import BACKEND, LORENZ, solve_lorenz
from examples.common.pinned_host import SmallPinnedHost, folder_of_run
from solver import BatchSolver, Chunks, Fault, MemoryManager


@pytest.fixture(scope="session")
def pinned_host(tmp_path_factory):
    """Return the pinned memory of this host, one for all workers of the run."""
    return SmallPinnedHost(folder_of_run(tmp_path_factory) / "pinned")


@pytest.fixture
def chunked_solved_solver(pinned_host):
    """Return a solver that has solved a batch in four chunks. Nobody closes it."""
    memory = MemoryManager(limit=Chunks(4), pinned=pinned_host)
    solver = BatchSolver(LORENZ, method="rk4", backend=BACKEND, memory=memory, fault=Fault.IMMORTAL)
    solve_lorenz(solver)
    return solver


@pytest.fixture(scope="session")
def unchunked_solved_solver(pinned_host):
    """Give a solver that has solved the batch in one piece; alive until the session ends, then closed."""
    memory = MemoryManager(pinned=pinned_host)
    solver = BatchSolver(LORENZ, method="rk4", backend=BACKEND, memory=memory, fault=Fault.IMMORTAL)
    solve_lorenz(solver)
    yield solver
    solver.close()
