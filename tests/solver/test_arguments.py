"""What callers get wrong is said before anything is started."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import BatchSolver, Chunks, Fault, MemoryManager, Problem, solve_batch
from solver.pipeline.chunks import parse_limit, plan_chunks
from tests.solver.problems import DECAY, decay_solver, solve_decay, writeback_threads

SPAN = (0.0, 1.0)


@pytest.mark.parametrize("max_steps", [0, 2**31])
def test_attempts_that_cannot_be_counted_are_refused(max_steps):
    with pytest.raises(ValueError, match=rf"max_steps from 1 to 2147483647 .* max_steps={max_steps},"):
        decay_solver(max_steps=max_steps)


@pytest.mark.parametrize(
    ("y0", "params", "said"),
    [
        ((1.0,), (1.0,), r"y0 has shape \(1,\); give \(2,\) for all runs"),
        (np.zeros((3, 2)), np.zeros((4, 1)), "y0 has 3 runs but params has 4 runs"),
        (np.zeros((0, 2)), (1.0,), "no runs"),
        (np.zeros((1, 1, 2)), (1.0,), "y0 has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named(y0, params, said):
    with pytest.raises(ValueError, match=said):
        solve_batch(DECAY, y0, params, SPAN, dt=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"t_span": (1.0, 1.0)}, "the end after the start"),
        ({"t_span": [(0.0, 1.0), (1.0, 0.0)]}, r"got \(1, 0\) for run 1"),
        ({"t_span": (0.0, np.inf)}, "two finite times"),
        ({"t_span": [(0.0, 1.0)] * 3, "params": [(1.0,)] * 2}, "params has 2 runs but t_span has 3 runs"),
        ({"dt": 0.0}, "dt must be a positive step"),
        ({"dt": 0.1, "h0": 0.1}, "stands alone"),
        ({"dt": None}, "rk4 has no error estimate: give a step size"),
        ({"dt": None, "h0": -1.0}, "a step h0 >= 0"),
        ({"saveat": [0.5, 0.5]}, "saveat must increase"),
        ({"saveat": [0.5, 1.5]}, "outside of the span 0 to 1"),
        ({"saveat": []}, "saveat must be a list"),
        ({"summary": "mean"}, "give saveat"),
        ({"saveat": [0.5], "summary": "median"}, "no summary called median"),
    ],
)
def test_arguments_of_a_solve_that_make_no_sense_are_named(options, said):
    given = {"y0": (1.0, 0.0), "params": (1.0,), "t_span": SPAN, "dt": 0.1} | options
    with decay_solver() as solver, pytest.raises(ValueError, match=said):
        solver.solve(**given)
    assert not writeback_threads()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "euler"}, "no method 'euler'; choose one of rk4"),
        ({"backend": "gpu"}, "backend 'gpu' is not known"),
        ({"rtol": 0.0, "atol": 0.0}, "not both 0"),
        ({"backend": "cpu", "fault": Fault.DIES}, "needs a writeback thread"),
        ({"dtype": np.int64}, "dtype must be float32 or float64"),
        ({"copies": 0}, "must all be positive"),
        ({"memory_limit": "3 parsecs"}, "'3 parsecs' is not an amount"),
        ({"memory_limit": 0}, "must be positive"),
        ({"memory_limit": 1, "memory": MemoryManager()}, "both given"),
    ],
)
def test_options_that_make_no_sense_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        BatchSolver(DECAY, **options)


def test_the_device_cannot_be_had_while_it_is_simulated():
    with pytest.raises(RuntimeError, match="unset NUMBA_ENABLE_CUDASIM"):
        BatchSolver(DECAY, backend="cuda")


def test_a_right_hand_side_that_returns_too_little_is_found_before_the_launch():
    with pytest.raises(ValueError, match=r"must return a tuple of 2 numbers \(n_states\)"):
        solve_batch(Problem(lambda t, y, p: (y[0],), 2), (1.0, 1.0), (), SPAN, dt=0.1)


def test_more_chunks_than_runs_and_too_little_memory_are_refused():
    with decay_solver(memory_limit=Chunks(9)) as solver, pytest.raises(ValueError, match="at most 8"):
        solve_decay(solver)
    with decay_solver(memory_limit=10) as solver, pytest.raises(MemoryError, match="only 10 are free"):
        solve_decay(solver)
    assert not writeback_threads()


def test_limits_are_read_in_binary_units():
    assert parse_limit("64 KiB") == 65536
    assert parse_limit("3") == 3


@settings(deadline=None)
@given(
    n_runs=st.integers(1, 500), per_run=st.integers(1, 50), free=st.integers(1, 5000), sets=st.integers(1, 4)
)
def test_chunks_cover_every_run_once_and_fit(n_runs, per_run, free, sets):
    try:
        plan = plan_chunks(n_runs, per_run, free, sets)
    except MemoryError:
        assert free < sets * per_run
        return
    assert [run for bounds in plan.bounds for run in range(*bounds)] == list(range(n_runs))
    assert plan.sets * plan.runs * per_run <= free


@settings(deadline=None)
@given(n_runs=st.integers(1, 200), data=st.data())
def test_a_number_of_chunks_is_met_exactly_and_evenly(n_runs, data):
    count = data.draw(st.integers(1, n_runs))
    sizes = [stop - start for start, stop in plan_chunks(n_runs, 1, Chunks(count), 2).bounds]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
