"""A batch that is cut into chunks gives what it gives in one piece."""

from __future__ import annotations

import numpy as np
import pytest

from examples.common.lorenz import PARAMS, RUNS, SAVED, lorenz
from solver import Chunks, Problem, Status


def test_a_problem_without_states_is_refused():
    with pytest.raises(ValueError, match="n_states must be at least 1"):
        Problem(lorenz, n_states=0)


def test_chunked_shape_equals_shape_when_not_chunking(unchunked_solved_solver):
    for array in unchunked_solved_solver.kernel.output_arrays:
        assert array.chunked_shape == array.shape
        assert not array.needs_chunked_transfer


def test_chunked_solve_produces_valid_output(chunked_solved_solver):
    solution = chunked_solved_solver.solution
    assert np.isfinite(solution.ys).all()
    assert (solution.status == Status.OK).all()


def test_run_executes_with_chunking(chunked_solved_solver):
    assert chunked_solved_solver.solution.stats.chunks == 4
    assert chunked_solved_solver.solution.stats.chunk_runs == RUNS // 4


def test_no_chunks_at_all_are_refused():
    with pytest.raises(ValueError, match="at least 1 chunk"):
        Chunks(0)


def test_chunked_and_unchunked_results_are_the_same_bit_for_bit(
    chunked_solved_solver, unchunked_solved_solver
):
    np.testing.assert_array_equal(chunked_solved_solver.solution.ys, unchunked_solved_solver.solution.ys)


@pytest.mark.parametrize("run", [0, 3, 7])
def test_each_run_follows_its_own_parameters(chunked_solved_solver, run):
    # From (1, 0, 0) the second state rises the faster the greater rho is: chunks that change places are seen.
    early = chunked_solved_solver.solution.ys[:, 1, 1]
    assert np.argsort(early)[run] == np.argsort(PARAMS[:, 1])[run]


def test_unchunked_solve_uses_one_chunk(unchunked_solved_solver):
    assert unchunked_solved_solver.solution.stats.chunks == 1


def test_saved_times_are_those_asked_for(chunked_solved_solver):
    np.testing.assert_array_equal(chunked_solved_solver.solution.ts, SAVED)
