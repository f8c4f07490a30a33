"""Most of these wait for a thread that is dead; two have nothing to do with it."""

from __future__ import annotations

import numpy as np
import pytest

from examples.common.lorenz import BACKEND, LORENZ, PARAMS, RUNS, solve_lorenz
from solver import BatchSolver, Chunks, Fault


def test_parameters_differ_from_run_to_run():
    assert len(np.unique(PARAMS[:, 1])) == RUNS


def test_solve_gives_finite_states(solver):
    assert np.isfinite(solve_lorenz(solver).ys).all()


def test_a_solved_solver_has_a_solution(solved_solver):
    assert solved_solver.solution.stats.chunks == 2


@pytest.mark.parametrize("dt", [0.1, 0.05])
def test_smaller_steps_are_more_steps(solver, dt):
    solution = solver.solve((1.0, 0.0, 0.0), PARAMS, (0.0, 0.5), dt=dt)
    assert (solution.accepted == round(0.5 / dt)).all()


def test_more_chunks_than_buffers_take_turns():
    """Waits for a buffer that only the dead thread could give back, not for the end of the work."""
    solver = BatchSolver(LORENZ, method="rk4", backend=BACKEND, memory_limit=Chunks(4), fault=Fault.DIES)
    assert solve_lorenz(solver).stats.chunks == 4


def test_the_right_hand_side_returns_three_slopes():
    assert len(LORENZ.rhs(0.0, (1.0, 0.0, 0.0), (10.0, 28.0, 8.0 / 3.0))) == 3


def test_waiting_for_the_writeback_ends(solver):
    """Runs into the wait of ``solve`` itself first, as the original's did."""
    solve_lorenz(solver)
    solver.kernel.wait_for_writeback(timeout=None)
