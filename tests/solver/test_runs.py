"""Every run is its own: neighbours, place in the batch and size of the batch change no bit of it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from solver.devices.cpu import run_block, run_chunks
from solver.ensemble import integrate
from solver.numerics.recipe import Recipe
from solver.numerics.status import Status, describe
from tests.solver.reference_problems import lorenz

N_RUNS = 1000
RHOS = np.linspace(0.0, 21.0, N_RUNS)[None, :]
START = np.tile(np.array([[1.0], [0.0], [0.0]]), N_RUNS)
RECIPE = Recipe(lorenz, 3, 1)
SPAN = (0.0, 10.0)


@pytest.fixture(scope="module")
def whole():
    return integrate(RECIPE, START, RHOS, SPAN)


def assert_runs_equal(made, expected, runs):
    for name in ("ys", "t_end", "counts", "status"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name)[..., runs], err_msg=name)


def test_order_does_not_matter(whole):
    order = np.random.default_rng(1).permutation(N_RUNS)
    assert_runs_equal(integrate(RECIPE, START[:, order], RHOS[:, order], SPAN), whole, order)


@pytest.mark.parametrize("n_runs", [1, 2, 15, 16, 17, 33, 257])
def test_size_does_not_matter(whole, n_runs):
    runs = slice(100, 100 + n_runs)
    assert_runs_equal(integrate(RECIPE, START[:, runs], RHOS[:, runs], SPAN), whole, runs)


def test_threads_and_slices_do_not_matter(whole):
    for threads in (1, 2, 3, 7):
        assert_runs_equal(integrate(RECIPE, START, RHOS, SPAN, threads=threads), whole, slice(None))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])
def test_bad_neighbours_do_not_matter(whole, bad):
    starts = START.copy()
    sick = np.arange(0, N_RUNS, 3)
    starts[:, sick] = bad
    made = integrate(RECIPE, starts, RHOS, SPAN)
    healthy = np.setdiff1d(np.arange(N_RUNS), sick)
    for name in ("ys", "t_end", "counts", "status"):
        np.testing.assert_array_equal(getattr(made, name)[..., healthy], getattr(whole, name)[..., healthy])
    assert (made.status[sick] == Status.NON_FINITE).all()


def test_a_run_that_is_not_finite_stops_early():
    starts = START[:, :20].copy()
    starts[2, 7] = np.nan
    made = integrate(RECIPE, starts, RHOS[:, :20], SPAN)
    assert made.counts[:2, 7].sum() <= 10
    assert np.flatnonzero(made.status).tolist() == [7]


WAYS = {"lanes": {}, "scalar": {"lanes": 1}, "python": {"backend": "python"}}


@pytest.mark.parametrize("method", ["tsit5", "heun2"])
def test_the_size_of_a_state_does_not_matter_where_only_the_relative_error_counts(method):
    def fading(t, y, p):
        return (-y[0], 0.5 * y[0] - y[1])

    # From about 1e-271 to 1e300; by powers of two, so that every operation is exactly scaled.
    sizes = 2.0 ** np.array([0.0, -900.0, -500.0, 500.0, 997.0])
    for how in WAYS.values():
        made = integrate(
            Recipe(fading, 2, 0, method=method),
            np.stack([sizes, sizes]),
            [],
            (0.0, 2.0),
            rtol=1e-4,
            atol=0.0,
            h0=1e-3,
            **how,
        )
        assert (made.status == Status.OK).all()
        for run, size in enumerate(sizes):
            np.testing.assert_array_equal(made.ys[..., run], made.ys[..., 0] * size)
            np.testing.assert_array_equal(made.counts[:, run], made.counts[:, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tolerance_may_be_absolute_only(dtype):
    def fading(t, y, p):
        return (-y[0],)

    recipe = Recipe(fading, 1, 0, dtype=np.dtype(dtype))
    results = [integrate(recipe, [1.0], [], (0.0, 2.0), rtol=0.0, atol=1e-4, **how) for how in WAYS.values()]
    almost = integrate(recipe, [1.0], [], (0.0, 2.0), rtol=1e-9, atol=1e-4)
    assert results[0].status[0] == Status.OK
    assert (results[0].counts == almost.counts).all()
    assert 1e-7 < abs(results[0].ys[0, 0, 0] - np.exp(-2.0)) < 1e-4
    for other in results[1:]:
        assert_runs_equal(other, results[0], slice(None))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_at_the_ends_of_the_numbers_have_a_status_of_their_own(dtype):
    def growing(t, y, p):
        return (p[0] * y[0], 0.0 * y[1])

    huge = 1e-4 * float(np.finfo(dtype).max)
    results = []
    for how in WAYS.values():
        made = integrate(
            Recipe(growing, 2, 1, dtype=np.dtype(dtype)),
            np.array([[1.0, huge, 1.0, 0.0], np.zeros(4)]),
            # One that stays what it is, one whose slope overflows, however short the step, when it is a
            # fifth of the largest number, one that fades to nothing, one that is nothing.
            np.array([[0.0, 5.0, -90.0, 1.0]]),
            (0.0, 10.0),
            rtol=1e-3,
            atol=0.0,
            **how,
        )
        assert made.status.tolist() == [Status.OK, Status.STEP_UNDERFLOW, Status.OK, Status.OK]
        assert made.ys[0, 0, 0] == 1
        np.testing.assert_allclose(made.t_end[1], np.log(1e4 / 5) / 5, rtol=0.01)
        assert abs(made.ys[0, 0, 2]) < 1e-30
        assert not made.ys[0, 1].any()
        results.append(made)
    for other in results[1:]:
        assert_runs_equal(other, results[0], slice(None))


def test_a_first_step_that_is_far_too_long_soon_is_short_enough():
    def quick(t, y, p):
        return (-1e6 * y[0],)

    made = integrate(Recipe(quick, 1, 0), [1.0], [], (0.0, 1e-5), h0=1.0, rtol=1e-6, atol=1e-9)
    assert made.status[0] == Status.OK
    assert made.counts[1, 0] <= 12, "a step a thousand times too long takes a few attempts to shrink"
    np.testing.assert_allclose(made.ys[0, 0, 0], np.exp(-10.0), atol=1e-6)


def test_each_failure_has_its_status_and_the_others_go_on():
    def many_fates(t, y, p):
        if p[0] == 1:
            slope = y[0] * y[0]  # infinite at t = 1
        elif p[0] == 2:
            slope = 100 * (t - y[0])  # many steps
        elif p[0] == 3:
            slope = y[0] / (p[0] - 3)  # not finite anywhere
        elif p[0] == 4:
            slope = (0.5 - t) ** 0.5  # no number after t = 0.5
        else:
            slope = -y[0]
        return (slope,)

    fates = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 0.0]])
    made = integrate(Recipe(many_fates, 1, 1), [1.0], fates, (0.0, 20.0), max_steps=400)
    expected = [Status.OK, Status.STEP_UNDERFLOW, Status.MAX_STEPS, Status.NON_FINITE, Status.OK]
    assert made.status[[0, 1, 2, 3, 5]].tolist() == expected
    assert made.status[4] in {Status.STEP_UNDERFLOW, Status.NON_FINITE}
    assert made.counts[:2, 2].sum() == 400
    assert made.t_end[1] == pytest.approx(1.0, abs=1e-5)
    assert made.t_end[4] == pytest.approx(0.5, abs=1e-6)
    assert made.counts[:2, 3].sum() <= 10
    np.testing.assert_array_equal(made.t_end[[0, 5]], 20.0)
    assert np.isfinite(made.ys[0, 0, 2:]).all(), "the last accepted state is returned"
    assert describe(made.status[:4]) == (
        "1 OK, 1 MAX_STEPS (first: run 2), 1 STEP_UNDERFLOW (first: run 1), 1 NON_FINITE (first: run 3)"
    )


def test_a_state_that_overflows_outside_the_error_estimate_is_not_called_ok():
    def apart(t, y, p):
        return (-y[0], 0.0 * t)

    made = integrate(Recipe(apart, 2, 0), np.array([[1.0, 1.0], [np.inf, 1.0]]), [], (0.0, 1.0))
    assert made.status.tolist() == [Status.NON_FINITE, Status.OK]


def test_a_trial_step_into_forbidden_land_is_retried_smaller():
    def guarded(t, y, p):
        return (-50 * y[0] ** 0.5,)

    made = integrate(Recipe(guarded, 1, 0), [1.0], [], (0.0, 0.0399), h0=0.03)
    assert made.status[0] == Status.OK
    assert made.counts[1, 0] > 0
    assert made.ys[0, 0, 0] == pytest.approx((1 - 25 * 0.0399) ** 2, rel=1e-3)


def test_fixed_steps_stop_at_the_first_state_that_is_not_finite():
    def explosive(t, y, p):
        return (y[0] ** 3,)

    made = integrate(Recipe(explosive, 1, 0, "rk4", fixed=True), [1.0], [], (0.0, 10.0), h0=0.1)
    assert made.status[0] == Status.NON_FINITE
    assert made.counts[:2].sum() < 20


def test_every_status_says_what_it_means():
    assert all(len(member.message) > 10 for member in Status)
    assert Status(2) is Status.MAX_STEPS


def test_each_run_may_have_its_own_span(whole):
    spans = np.stack([np.zeros(N_RUNS), np.linspace(1.0, 10.0, N_RUNS)])
    made = integrate(RECIPE, START, RHOS, spans)
    np.testing.assert_array_equal(made.t_end, spans[1])
    assert_runs_equal(integrate(RECIPE, START[:, :3], RHOS[:, :3], spans[:, :3]), made, slice(0, 3))
    np.testing.assert_array_equal(made.ys[..., -1], whole.ys[..., -1])


def test_an_empty_span_returns_the_start():
    made = integrate(RECIPE, START[:, :5], RHOS[:, :5], (2.0, 2.0), ts=[2.0], backend="python")
    np.testing.assert_array_equal(made.ys[0], START[:, :5])
    assert (made.status == Status.OK).all()


@pytest.mark.parametrize("backend", ["cpu", "python", "sim"])
def test_no_runs_are_no_accident(backend):
    made = integrate(RECIPE, START[:, :0], RHOS[:, :0], SPAN, backend=backend)
    assert made.ys.shape == (1, 3, 0)
    assert made.status.size == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"t_span": (1.0, 0.0)}, "backwards"),
        ({"t_span": (0.0, np.inf)}, "finite"),
        ({"params": RHOS[:, :7]}, "disagree"),
        ({"y0": [1.0, 2.0]}, "y0 must be"),
        ({"rtol": -1.0}, "rtol=-1"),
        ({"ts": [0.5, 0.2]}, "must not decrease"),
        ({"ts": [0.5, np.nan]}, "must be numbers"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_their_values(change, text):
    given = {"y0": START, "params": RHOS, "t_span": SPAN} | change
    with pytest.raises(ValueError, match=text):
        integrate(RECIPE, **given)


def test_all_runs_are_made_once_however_they_are_cut():
    made = np.zeros(5000, np.int32)

    def slow_block(lo, hi):
        made[lo:hi] += 1
        sum(range(200_000))

    run_block(slow_block, 5000, (), threads=3)
    assert (made == 1).all()


def test_an_error_in_a_thread_reaches_the_caller():
    def failing_block(lo, hi):
        sum(range(200_000))
        if lo > 0:
            message = f"no run {lo}"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="no run"):
        run_block(failing_block, 5000, (), threads=2)


def test_a_thread_goes_on_with_the_next_chunk_while_another_is_not_done_with_the_first():
    further, seen = threading.Event(), []

    def block(lo, hi):
        sum(range(200_000))
        if lo >= 600:
            further.set()
        elif lo > 0:
            seen.append(further.wait(60.0))

    run_chunks(block, ((0, 600), (600, 1200)), (), threads=2, least=300, told=seen.append)
    assert seen == [0, True, 1, 2]


def test_the_caller_makes_runs_as_one_of_the_threads():
    both, names = threading.Barrier(2), set()

    def block(lo, hi):
        sum(range(200_000))
        if lo > 0:
            # Two slices at a time, or nobody goes on.
            both.wait(60.0)
            names.add(threading.current_thread().name)

    run_chunks(block, ((0, 2304),), (), threads=2)
    assert names == {threading.current_thread().name, "solver-cpu_0"}


def test_an_error_in_another_thread_ends_the_share_of_the_caller():
    caller, failed, made = threading.get_ident(), threading.Event(), []

    def block(lo, hi):
        sum(range(200_000))
        if lo > 0 and threading.get_ident() != caller:
            failed.set()
            message = f"no run {lo}"
            raise RuntimeError(message)
        if lo > 0:
            made.append(lo)
            assert failed.wait(60.0)

    with pytest.raises(RuntimeError, match="no run"):
        run_chunks(block, [(lo, lo + 1000) for lo in range(0, 100_000, 1000)], (), threads=2)
    assert len(made) < 50


def test_what_is_raised_when_a_chunk_is_done_ends_the_threads():
    def block(lo, hi):
        sum(range(200_000))

    def told(done):
        if done == 1:
            message = f"enough after {done}"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="enough after 1"):
        run_chunks(block, [(lo, lo + 1000) for lo in range(0, 10_000, 1000)], (), threads=2, told=told)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("solver-cpu")]
