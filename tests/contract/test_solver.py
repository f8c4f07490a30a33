"""The solver on whatever device there is: right results, however the batch is cut, nothing left behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from solver import Chunks
from tests.solver.problems import RATES, decay_solver, solve_decay, writeback_threads

pytestmark = [pytest.mark.usefixtures("gpu", "compiled")]

SAVED = (0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def whole():
    """The batch in one piece."""
    with decay_solver(memory_limit=Chunks(1)) as solver:
        return solve_decay(solver, saveat=SAVED).ys.copy()


def test_states_are_those_of_the_formula(whole):
    left = np.exp(-RATES[:, None] * np.array(SAVED))
    np.testing.assert_allclose(whole[:, :, 0], left, rtol=5e-3)
    np.testing.assert_allclose(whole.sum(axis=2), 1.0, rtol=1e-12)


@pytest.mark.parametrize("chunks", [2, 4, 8])
@pytest.mark.parametrize("lanes", [{"sets": 1, "copies": 1, "writers": 1}, {}, {"sets": 3, "writers": 3}])
def test_chunks_change_nothing(whole, chunks, lanes):
    with decay_solver(memory_limit=Chunks(chunks), **lanes) as solver:
        solution = solve_decay(solver, saveat=SAVED)
    assert solution.stats.chunks == chunks
    np.testing.assert_array_equal(solution.ys, whole)
    assert (solution.status == 0).all()


def test_a_solver_can_be_used_again(whole):
    with decay_solver(memory_limit=Chunks(4)) as solver:
        for _ in range(3):
            np.testing.assert_array_equal(solve_decay(solver, saveat=SAVED).ys, whole)
        final = solve_decay(solver)
        np.testing.assert_array_equal(final.ys[:, 0], whole[:, -1])


def test_results_arrive_in_the_callers_own_array(whole):
    out = np.full(whole.shape, np.nan)
    with decay_solver(memory_limit=Chunks(4)) as solver:
        assert solve_decay(solver, saveat=SAVED, out=out).ys is out
    np.testing.assert_array_equal(out, whole)


def test_free_memory_decides_how_many_chunks_there_are(gpu, gpu_memory_limit, whole):
    if gpu.mode == "sim":
        pytest.skip("the simulator's solver does not ask numba what is free")
    with gpu_memory_limit(300), decay_solver() as solver:
        solution = solve_decay(solver, saveat=SAVED)
    assert solution.stats.chunks > 1
    np.testing.assert_array_equal(solution.ys, whole)


def test_results_may_stay_on_the_device(whole):
    with decay_solver(memory_limit=Chunks(1)) as solver:
        kept = solve_decay(solver, saveat=SAVED, result="device").ys
        np.testing.assert_array_equal(kept.copy_to_host(), whole)


def test_solvers_side_by_side_do_not_meet(whole):
    results = []

    def work():
        with decay_solver(memory_limit=Chunks(4)) as solver:
            results.append(solve_decay(solver, saveat=SAVED).ys)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 3
    for result in results:
        np.testing.assert_array_equal(result, whole)


def test_a_closed_solver_leaves_no_thread():
    before = set(writeback_threads())
    with decay_solver(memory_limit=Chunks(4)) as solver:
        solve_decay(solver)
        assert set(writeback_threads()) > before
    assert set(writeback_threads()) <= before
