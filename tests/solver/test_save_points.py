"""Save points: exact at both ends, without drift in between, each where it was asked for."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from solver.ensemble import integrate
from solver.numerics.recipe import SUMMARIES, Recipe
from tests.solver.reference_problems import decay, lorenz, lorenz_reference

# Interpreted: these programs are run a few hundred steps, and backend identity is tested elsewhere.
solve = partial(integrate, backend="python")
LORENZ = Recipe(lorenz, 3, 1)
START = [1.0, 0.0, 0.0]
RHOS = np.array([[0.5, 10.0, 21.0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_points", [2, 100, 10_000])
def test_both_ends_are_exact(dtype, n_points):
    recipe = Recipe(lorenz, 3, 1, dtype=dtype)
    ts = np.linspace(0.0, 10.0, n_points, dtype=dtype)
    made = solve(recipe, START, RHOS, (0.0, 10.0), ts=ts)
    final = solve(recipe, START, RHOS, (0.0, 10.0))
    np.testing.assert_array_equal(made.ys[0], np.tile(np.array(START, dtype)[:, None], 3))
    np.testing.assert_array_equal(made.ys[-1], final.ys[0])
    np.testing.assert_array_equal(made.counts, final.counts)


def test_points_agree_with_the_reference_in_the_middle_of_a_step():
    made = solve(LORENZ, START, RHOS, (0.0, 1.7), ts=[0.3, 1.0, 1.6], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(made.ys[1], lorenz_reference(RHOS[0], 1), atol=500e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2e-9), (np.float32, 3e-6)])
def test_ten_thousand_points_do_not_drift(dtype, tolerance):
    def rotation(t, y, p):
        return (y[1], -y[0])

    ts = np.linspace(0.0, 20.0, 10_001, dtype=dtype)
    tol = tolerance / 30
    made = solve(Recipe(rotation, 2, 0, dtype=dtype), [0.0, 1.0], [], (0.0, 20.0), ts=ts, rtol=tol, atol=tol)
    # Compare at the times as rounded; the phase error grows like t, a drift of the points would too, faster.
    error = np.abs(made.ys[:, 0, 0] - np.sin(ts.astype(np.float64)))
    assert error.max() < 30 * tolerance
    assert error[-100:].max() < 100 * max(error[:2000].max(), tolerance / 10)


def test_float32_time_does_not_drift_over_many_steps():
    """Plain sums of float32 steps go astray; with the rounding error carried they do not."""

    def clock(t, y, p):
        return (t * 0 + 1,)

    recipe = Recipe(clock, 1, 0, "rk4", dtype=np.float32, fixed=True)
    made = solve(recipe, [0.0], [], (0.0, 10.0), h0=1e-3, ts=[5.0, 10.0])
    assert made.counts[0, 0] == 10_000
    naive = np.float32(0)
    for _ in range(10_000):
        naive += np.float32(1e-3)
    assert abs(naive - 10.0) > 1e-4, "the plant: plain summation drifts"
    assert made.t_end[0] == 10.0


def test_many_points_within_one_step_and_points_that_are_step_ends():
    def line(t, y, p):
        return (2.0 + 0 * y[0],)

    ts = np.array([0.0, 0.25, 0.25, 0.5, 0.500001, 0.75, 1.0])
    made = solve(Recipe(line, 1, 0, "rk4", fixed=True), [1.0], [], (0.0, 1.0), h0=0.5, ts=ts)
    np.testing.assert_allclose(made.ys[:, 0, 0], 1 + 2 * ts, rtol=1e-15)


def test_points_outside_a_runs_span_stay_nan():
    spans = np.array([[0.0, 1.0], [2.0, 3.0]])
    made = solve(Recipe(decay, 1, 0), np.ones((1, 2)), [], spans, ts=[-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 9.0])
    known = ~np.isnan(made.ys[:, 0])
    np.testing.assert_array_equal(known[:, 0], [False, True, True, True, True, False, False])
    np.testing.assert_array_equal(known[:, 1], [False, False, False, True, True, True, False])
    assert made.ys[3, 0, 1] == 1.0


def test_each_run_may_have_its_own_points():
    ts = np.array([[0.1, 0.5], [0.2, 0.9]])
    made = solve(Recipe(decay, 1, 0), np.ones((1, 2)), [], (0.0, 1.0), ts=ts, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(made.ys[:, 0], np.exp(-ts), rtol=1e-7)


def test_a_run_that_fails_keeps_what_it_had():
    def blow_up(t, y, p):
        return (y[0] ** 2,)

    made = solve(Recipe(blow_up, 1, 0), [1.0], [], (0.0, 2.0), ts=[0.0, 0.5, 0.9, 1.5])
    np.testing.assert_allclose(made.ys[:3, 0, 0], [1.0, 2.0, 10.0], rtol=1e-4)
    assert math.isnan(made.ys[3, 0, 0])


def test_summaries_are_those_of_the_points():
    ts = np.linspace(0.0, 2.0, 50)
    points = solve(LORENZ, START, RHOS, (0.0, 2.0), ts=ts).ys
    made = solve(Recipe(lorenz, 3, 1, points=True, summary=SUMMARIES), START, RHOS, (0.0, 2.0), ts=ts).ys
    total = np.zeros_like(points[0])
    for point in points:
        total = total + point
    np.testing.assert_array_equal(made[0], total / 50)
    np.testing.assert_array_equal(made[1], points.min(axis=0))
    np.testing.assert_array_equal(made[2], points.max(axis=0))
    np.testing.assert_array_equal(made[3], points[-1])


def test_a_summary_counts_only_points_that_were_reached():
    recipe = Recipe(decay, 1, 0, points=True, summary=("mean",))
    spans = np.array([[0.0, 0.0, 5.0], [1.0, 0.25, 6.0]])
    made = solve(recipe, np.ones((1, 3)), [], spans, ts=[0.0, 0.5, 1.0], rtol=1e-9, atol=1e-9)
    assert made.ys[0, 0, 0] == pytest.approx((1 + math.exp(-0.5) + math.exp(-1)) / 3, rel=1e-7)
    assert made.ys[0, 0, 1] == 1.0
    assert math.isnan(made.ys[0, 0, 2])


def test_a_summary_without_points_is_refused():
    with pytest.raises(ValueError, match="saveat"):
        Recipe(decay, 1, 0, summary=("mean",))
    with pytest.raises(ValueError, match="median"):
        Recipe(decay, 1, 0, points=True, summary=("median",))
