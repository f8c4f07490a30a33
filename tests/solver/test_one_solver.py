"""Methods, events, drivers, spans and summaries through `BatchSolver`: the same bits on every backend."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from solver import (
    BatchSolver,
    Chunks,
    DeviceResult,
    Drivers,
    Event,
    HostDevice,
    Problem,
    SolverClosedError,
    Status,
    solve_batch,
)

FIELDS = ("ys", "status", "t_end", "accepted", "rejected", "event_counts", "event_ts")
RUNS = 12
SAVED = np.array([0.0, 0.1, 0.35, 1.0])


def lorenz(t, y, p):
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


def first_state(t, y, p):
    return y[0] - 2.0


LORENZ = Problem(lorenz, 3, 1)
STARTS = np.column_stack([np.linspace(0.5, 1.5, RUNS), np.zeros(RUNS), np.zeros(RUNS)])
RHO = np.linspace(0.5, 21.0, RUNS)[:, None]


def assert_same(one, other, runs=slice(None)):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field)[runs], err_msg=field)


def own_spans() -> np.ndarray:
    return np.column_stack([np.linspace(0.0, 0.2, RUNS), np.linspace(0.5, 1.0, RUNS)])


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"method": "tsit5"}, {}),
        ({"method": "tsit5", "dtype": np.float32, "rtol": 1e-4}, {}),
        ({"method": "rodas4"}, {}),
        ({"method": "rk4"}, {"dt": 0.03}),
    ],
    ids=["tsit5", "single", "stiff", "fixed"],
)
def test_python_processor_and_simulator_agree_to_the_last_bit(options, times):
    found = {}
    for backend in ("python", "cpu", "sim"):
        with BatchSolver(LORENZ, backend=backend, memory_limit=Chunks(2), **options) as solver:
            found[backend] = solver.solve(STARTS, RHO, own_spans(), saveat=SAVED, events=first_state, **times)
    assert found["python"].event_counts.max() > 0
    assert np.isnan(found["python"].ys).any()
    for backend in ("cpu", "sim"):
        assert_same(found[backend], found["python"])


@pytest.fixture(scope="module")
def whole():
    return solve_batch(LORENZ, STARTS, RHO, (0.0, 1.0), backend="cpu", saveat=SAVED, events=first_state)


def solve(solver, runs=slice(None), starts=STARTS):
    return solver.solve(starts[runs], RHO[runs], (0.0, 1.0), saveat=SAVED, events=first_state)


@pytest.mark.parametrize("chunks", range(1, 8))
def test_chunks_buffers_sets_and_writers_change_no_bit(whole, chunks):
    for sets, copies, writers in ((1, 1, 1), (2, 3, 2), (3, 2, 4)):
        options = {"sets": sets, "copies": copies, "writers": writers, "memory_limit": Chunks(chunks)}
        with BatchSolver(LORENZ, backend="sim", **options) as solver:
            cut = solve(solver)
        assert cut.stats.chunks == chunks
        assert_same(cut, whole)
    for threads in (1, 3):
        device = HostDevice("cpu", threads)
        with BatchSolver(LORENZ, backend=device, memory_limit=Chunks(chunks)) as solver:
            cut = solve(solver)
        assert cut.stats.chunks == chunks
        assert_same(cut, whole)


@pytest.mark.parametrize("backend", ["cpu", "sim"])
def test_order_size_and_neighbours_change_no_bit(whole, backend):
    order = np.random.default_rng(5).permutation(RUNS)
    with BatchSolver(LORENZ, backend=backend, memory_limit=Chunks(2)) as solver:
        assert_same(solve(solver, order), whole, order)
        for few in (slice(0, 2), slice(3, 8), slice(5, 12)):
            assert_same(solve(solver, few), whole, few)
        ill = STARTS.copy()
        ill[[0, 4, 11]] = np.nan, np.inf, 1e300
        mixed = solve(solver, starts=ill)
        assert (mixed.status[[0, 4, 11]] != Status.OK).all()
        well = [run for run in range(RUNS) if run not in {0, 4, 11}]
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(mixed, field)[well], getattr(whole, field)[well])


def test_a_large_batch_on_several_threads_is_that_of_one():
    rho = np.linspace(0.5, 21.0, 20_000)[:, None]
    several, one = (
        solve_batch(LORENZ, (1.0, 0.0, 0.0), rho, (0.0, 1.0), backend=HostDevice("cpu", threads))
        for threads in (3, 1)
    )
    assert_same(several, one)


@pytest.mark.parametrize("backend", ["python", "sim"])
def test_summaries_are_those_of_the_saved_states(whole, backend):
    kinds = ("mean", "min", "max", "final")
    options = {"saveat": SAVED, "summary": kinds}
    told = solve_batch(LORENZ, STARTS, RHO, (0.0, 1.0), backend=backend, memory_limit=Chunks(3), **options)
    assert told.ys.shape == (RUNS, 4, 3)
    np.testing.assert_allclose(told.ys[:, 0], whole.ys.mean(axis=1), rtol=1e-14, atol=1e-14)
    for row, expected in enumerate((whole.ys.min(axis=1), whole.ys.max(axis=1), whole.ys[:, -1]), start=1):
        np.testing.assert_array_equal(told.ys[:, row], expected)


@pytest.mark.parametrize("backend", ["python", "sim"])
def test_a_terminal_event_ends_its_run_alone(backend):
    swing = Problem(lambda t, y, p: (y[1], -p[0] * y[0]), 2, 1)
    events = Event(lambda t, y, p: y[0], terminal=2, keep=2)
    rates = np.array([1.0, 4.0, 0.01])
    solution = solve_batch(swing, (1.0, 0.0), rates[:, None], (0.0, 6.0), backend=backend, events=events)
    assert solution.status.tolist() == [Status.EVENT, Status.EVENT, Status.OK]
    assert solution.event_counts[:, 0].tolist() == [2, 2, 0]
    expected = np.array([0.5, 1.5]) * np.pi / np.sqrt(rates[:2, None])
    np.testing.assert_allclose(solution.event_ts[:2, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(solution.t_end, [*solution.event_ts[:2, 0, 1], 6.0])
    assert solution.describe() == "1 OK, 2 EVENT (first: run 0)"


@pytest.mark.parametrize("backend", ["python", "sim"])
def test_sampled_inputs_drive_all_runs(backend):
    filled = Problem(lambda t, y, p, d: (p[0] * d[0],), 1, 1)
    drivers = Drivers([[0.0, 1.0, 0.0]], start=0.0, step=1.0)
    solution = solve_batch(
        filled,
        (0.0,),
        [[1.0], [3.0]],
        (0.0, 2.0),
        backend=backend,
        dt=0.125,
        saveat=(1.0, 2.0),
        drivers=drivers,
    )
    np.testing.assert_allclose(solution.ys[:, :, 0], [[0.5, 1.0], [1.5, 3.0]], rtol=1e-12)


def test_each_run_may_have_times_of_its_own():
    decay = Problem(lambda t, y, p: (-p[0] * y[0],), 1, 1)
    ends = np.array([0.5, 1.0, 2.0])
    spans, own = np.column_stack([0 * ends, ends]), np.column_stack([ends / 2, ends])
    cut = Chunks(3)
    solution = solve_batch(decay, (1.0,), (1.0,), spans, backend="sim", saveat=own, memory_limit=cut)
    np.testing.assert_array_equal(solution.ts, own)
    np.testing.assert_array_equal(solution.t_end, ends)
    np.testing.assert_allclose(solution.ys[:, :, 0], np.exp(-own), rtol=1e-5)
    final = solve_batch(decay, (1.0,), (1.0,), spans, backend="python")
    np.testing.assert_array_equal(final.ts, ends[:, None])


@pytest.mark.parametrize("limit", [Chunks(5), 1000, None])
def test_on_the_processor_results_go_into_any_array(whole, limit):
    out = np.full((2 * RUNS, 4, 3), -1.0)
    with BatchSolver(LORENZ, backend="cpu", memory_limit=limit) as solver:
        solution = solver.solve(STARTS, RHO, (0.0, 1.0), saveat=SAVED, events=first_state, out=out[::2])
        kept = solver.solve(STARTS, RHO, (0.0, 1.0), saveat=SAVED, events=first_state, result="device").ys
    np.testing.assert_array_equal(out[::2], whole.ys)
    assert (out[1::2] == -1.0).all()
    assert isinstance(kept, DeviceResult)
    np.testing.assert_array_equal(kept.copy_to_host(), whole.ys)
    if limit == 1000:
        assert solution.stats.chunks > 1


def test_on_the_processor_nothing_is_pinned_and_no_thread_waits(whole):
    before = threading.active_count()
    with BatchSolver(LORENZ, backend="cpu", memory_limit=Chunks(3)) as solver:
        solution = solve(solver)
        assert threading.active_count() == before
        assert not solver.kernel.output_arrays._active_buffers
        assert solver.kernel.output_arrays.ys.chunked_shape == (4, 3, 4)
        solver.kernel.wait_for_writeback(timeout=1.0)
    assert (solution.stats.pinned_bytes, solution.stats.device_bytes) == (0, 0)
    with pytest.raises(SolverClosedError):
        solve(solver)


def test_closing_ends_a_solve_on_the_processor_in_another_thread():
    begun, errors = threading.Event(), []
    # Interpreted, without an end in sight.
    solver = BatchSolver(LORENZ, backend="python", memory_limit=Chunks(1000))

    def work():
        try:
            many = np.full((1000, 1), 10.0)
            solver.solve((1.0, 0.0, 0.0), many, (0.0, 20.0), progress=lambda done, total: begun.set())
        except SolverClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60.0)
    solver.close(60.0)
    thread.join(60.0)
    assert not thread.is_alive()
    assert len(errors) == 1


def test_an_adaptive_method_is_the_default_and_holds_its_tolerance():
    grown = Problem(lambda t, y, p: (p[0] * y[0] * math.cos(t),), 1, 1)
    for tolerance in (1e-6, 1e-9):
        solution = solve_batch(grown, (1.0,), (1.0,), (0.0, 2.0), rtol=tolerance, atol=tolerance)
        assert abs(solution.ys[0, 0, 0] - math.exp(math.sin(2.0))) < 500 * tolerance
