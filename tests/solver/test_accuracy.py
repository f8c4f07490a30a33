"""RK4 against closed forms and published values; the same numbers however a batch is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solver import BatchSolver, Chunks, Problem, Status, solve_batch
from solver.devices.virtual import Latency, VirtualDevice
from tests.solver.problems import DECAY, RATES, STARTS, decay_solver, solve_decay


def growth(t, y, p):
    return (p[0] * y[0] * math.cos(t),)


def lorenz(t, y, p):
    return (p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2])


def blow_up(t, y, p):
    return (p[0] * y[0] * y[0],)


def test_the_observed_order_is_four_on_a_problem_that_depends_on_time():
    # exp(sin 2); stage times are wrong if the order is.
    exact = math.exp(math.sin(2.0))
    with BatchSolver(Problem(growth, 1, 1), method="rk4", backend="python") as solver:
        errors = [
            abs(float(solver.solve((1.0,), (1.0,), (0.0, 2.0), dt=2.0 / n).ys[0, 0, 0]) - exact)
            for n in (20, 40, 80)
        ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([4.0, 4.0], abs=0.15)


def test_lorenz_agrees_with_the_reference_values():
    # 42-digit Taylor, rho = 0.5 and 10, t = 1.
    exact = [
        (0.0324364178158655455, 0.0308674160677597338, 0.000671576656067908429),
        (3.40760732084450511, 1.62622735896926246, 11.3201982063364410),
    ]
    params = [(10.0, 0.5, 8.0 / 3.0), (10.0, 10.0, 8.0 / 3.0)]
    solution = solve_batch(
        Problem(lorenz, 3, 3), (1.0, 0.0, 0.0), params, (0.0, 1.0), method="rk4", backend="sim", dt=1 / 160
    )
    np.testing.assert_allclose(solution.ys[:, 0], exact, rtol=3e-6)


def test_saved_points_are_the_closed_form_and_start_with_the_initial_state():
    saveat = np.array([0.0, 0.3, 0.35, 1.0])
    with decay_solver() as solver:
        solution = solve_decay(solver, saveat)
    np.testing.assert_array_equal(solution.ts, saveat)
    np.testing.assert_array_equal(solution.ys[:, 0], np.broadcast_to([1.0, 0.0], (8, 2)))
    # Each run its own rate, so that chunks in the wrong place are seen. Local error at h k = 0.5: 2e-4.
    np.testing.assert_allclose(solution.ys[:, :, 0], np.exp(-RATES[:, None] * saveat), rtol=2e-3)
    np.testing.assert_allclose(solution.ys.sum(axis=2), 1.0, rtol=1e-14)


@pytest.fixture(scope="module")
def whole():
    with decay_solver() as solver:
        return solve_decay(solver, (0.5, 1.0))


@pytest.mark.parametrize("chunks", range(1, 8))
@pytest.mark.parametrize(("sets", "copies"), [(1, 1), (2, 3)])
def test_any_number_of_chunks_gives_the_same_bits(whole, chunks, sets, copies):
    with decay_solver(memory_limit=Chunks(chunks), sets=sets, copies=copies) as solver:
        cut = solve_decay(solver, (0.5, 1.0))
    assert cut.stats.chunks == chunks
    np.testing.assert_array_equal(cut.ys, whole.ys)
    np.testing.assert_array_equal(cut.status, whole.status)


@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize(
    "latency", [Latency(0, 0, 0), Latency(3e-3, 0, 0), Latency(0, 3e-3, 1e-3), Latency(0, 0, 3e-3)]
)
def test_latencies_change_nothing_but_the_time(whole, latency, sets):
    # More pinned buffers than sets: only events keep one chunk from overwriting another on the device.
    device = VirtualDevice(latency)
    with decay_solver(memory_limit=Chunks(4), backend=device, sets=sets, copies=4) as solver:
        np.testing.assert_array_equal(solve_decay(solver, (0.5, 1.0)).ys, whole.ys)


def test_a_limit_in_bytes_cuts_so_that_two_sets_fit(whole):
    per_run = 8 * (2 + 1 + 2 * 2) + 8 + 2 * 4 + 4
    shared = 8 * (2 + 2)
    with decay_solver(memory_limit=shared + 2 * 3 * per_run) as solver:
        cut = solve_decay(solver, (0.5, 1.0))
        assert solver.memory.registry.peak("device") == shared + 2 * 3 * per_run
    assert (cut.stats.chunks, cut.stats.chunk_runs) == (3, 3)
    np.testing.assert_array_equal(cut.ys, whole.ys)


def test_one_solver_solves_batches_of_different_sizes_one_after_another(whole):
    with decay_solver(memory_limit=Chunks(3)) as solver:
        few = solver.solve(STARTS[:4], RATES[:4, None], (0.0, 1.0), dt=0.25)
        all_of_them = solve_decay(solver, (0.5, 1.0))
    np.testing.assert_array_equal(few.ys[:, 0], whole.ys[:4, 1])
    np.testing.assert_array_equal(all_of_them.ys, whole.ys)


def test_single_precision_stays_single():
    solution = solve_batch(DECAY, (1.0, 0.0), (1.0,), (0.0, 1.0), dt=0.05, dtype=np.float32, backend="sim")
    assert solution.ys.dtype == np.float32
    assert solution.ys[0, 0, 0] == pytest.approx(math.exp(-1), rel=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_explodes_says_so_and_leaves_its_neighbours_alone():
    problem = Problem(blow_up, 1, 1)
    rates = np.array([[0.5], [40.0], [0.25]])
    solution = solve_batch(
        problem, (1.0,), rates, (0.0, 1.0), method="rk4", dt=0.02, memory_limit=Chunks(2), backend="sim"
    )
    assert solution.status.tolist() == [Status.OK, Status.NON_FINITE, Status.OK]
    np.testing.assert_allclose(solution.ys[[0, 2], 0, 0], 1 / (1 - rates[[0, 2], 0]), rtol=1e-6)


def test_the_result_is_a_view_with_the_run_last_in_memory(whole):
    assert whole.ys.shape == (8, 2, 2)
    assert whole.ys.strides[0] == whole.ys.itemsize


def test_problems_without_parameters_are_solved():
    solution = solve_batch(
        Problem(lambda t, y, p: (-y[0],), 1), [[1.0], [2.0]], (), (0.0, 1.0), dt=0.1, backend="sim"
    )
    np.testing.assert_allclose(solution.ys[:, 0, 0], [math.exp(-1), 2 * math.exp(-1)], rtol=1e-6)
