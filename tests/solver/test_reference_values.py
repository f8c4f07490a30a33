"""Global errors against values of 15 digits and more, tolerance proportionality, stiff problems, events."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from solver.ensemble import integrate
from solver.numerics.drivers import Drivers
from solver.numerics.recipe import Event, Recipe
from solver.numerics.status import Status
from tests.solver.reference_problems import (
    ARENSTORF,
    DETEST,
    HIRES_321,
    LORENZ_21_CROSSING,
    OREGONATOR_360,
    ROBERTSON_1E11,
    ROBERTSON_40,
    VAN_DER_POL_1000,
    VAN_DER_POL_CROSSINGS,
    arenstorf,
    first_state,
    hires,
    lorenz,
    lorenz_reference,
    oregonator,
    robertson,
    van_der_pol,
)

# Interpreted: these programs are run a few hundred steps, and backend identity is tested elsewhere.
solve = partial(integrate, backend="python")


@pytest.mark.parametrize("name", DETEST)
@pytest.mark.parametrize("tol", [1e-6, 1e-9])
def test_detest_within_500_tolerances(name, tol):
    rhs, y0, t1, exact = DETEST[name]
    made = solve(Recipe(rhs, len(y0), 0), y0, [], (0.0, t1), rtol=tol, atol=tol)
    limit = 5000 * tol if name == "D5" else 500 * tol  # eccentricity 0.9 amplifies every error a thousandfold
    assert np.abs(made.ys[0, :, 0] - exact).max() < limit


@pytest.mark.parametrize("method", ["tsit5", "dp5", "bs3"])
def test_the_error_is_proportional_to_the_tolerance(method):
    tols = [1e-4, 1e-6, 1e-8] if method == "bs3" else [1e-4, 1e-6, 1e-8, 1e-10]
    errors = []
    for tol in tols:
        made = solve(Recipe(lorenz, 3, 1, method), [1.0, 0, 0], [10.0], (0.0, 1.0), rtol=tol, atol=tol)
        errors.append(np.abs(made.ys[0, :, 0] - lorenz_reference([10.0], 1)[:, 0]).max())
    assert np.polyfit(np.log(tols), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.25)


def test_the_arenstorf_orbit_closes():
    """Close passages amplify errors a hundred- to ten thousandfold, and want steps of all sizes."""
    start, period = ARENSTORF
    for tol in (1e-6, 1e-9, 1e-12):
        made = solve(Recipe(arenstorf, 4, 0), start, [], (0.0, period), rtol=tol, atol=tol)
        assert np.abs(made.ys[0, :2, 0] - start[:2]).max() < 5e4 * tol


def test_lorenz_at_ten():
    rhos = [0.5, 10.0, 21.0]
    made = solve(Recipe(lorenz, 3, 1), [1.0, 0, 0], [rhos], (0.0, 10.0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(made.ys[0], lorenz_reference(rhos, 10), atol=500e-9)


def test_float32_reaches_its_own_floor():
    rhos = [0.5, 10.0, 21.0]
    made = solve(
        Recipe(lorenz, 3, 1, dtype=np.float32), [1.0, 0, 0], [rhos], (0.0, 1.0), rtol=1e-6, atol=1e-6
    )
    assert made.ys.dtype == np.float32
    np.testing.assert_allclose(made.ys[0], lorenz_reference(rhos, 1), rtol=5e-5, atol=5e-6)


@pytest.mark.parametrize(
    ("rhs", "y0", "params", "t1", "exact", "rtol", "atol", "limit"),
    [
        (robertson, [1.0, 0.0, 0.0], [], 40.0, ROBERTSON_40, 1e-7, 1e-11, 1e-6),
        (robertson, [1.0, 0.0, 0.0], [], 1e11, ROBERTSON_1E11, 1e-7, 1e-14, 1e-3),
        (van_der_pol, [2.0, 0.0], [1000.0], 2000.0, VAN_DER_POL_1000, 1e-8, 1e-8, 1e-5),
        (oregonator, [1.0, 2.0, 3.0], [], 360.0, OREGONATOR_360, 1e-8, 1e-8, 1e-5),
        (hires, [1.0, *[0.0] * 6, 0.0057], [], 321.8122, HIRES_321, 1e-8, 1e-10, 1e-5),
    ],
    ids=["robertson-40", "robertson-1e11", "van-der-pol-1000", "oregonator", "hires"],
)
def test_stiff_problems(rhs, y0, params, t1, exact, rtol, atol, limit):
    recipe = Recipe(rhs, len(y0), len(params), "rodas4")
    made = solve(recipe, y0, params, (0.0, t1), rtol=rtol, atol=atol)
    assert made.status[0] == Status.OK
    assert made.counts[:2].sum() < 10_000
    np.testing.assert_allclose(made.ys[0, :, 0], exact, rtol=limit)


def test_a_stiff_problem_needs_the_stiff_method():
    """The control: tsit5 cannot do in as many attempts what rodas4 does in a few hundred."""
    made = solve(Recipe(robertson, 3, 0), [1.0, 0.0, 0.0], [], (0.0, 40.0), max_steps=2000)
    assert made.status[0] == Status.MAX_STEPS


def test_crossings_are_found_on_the_interpolant():
    recipe = Recipe(van_der_pol, 2, 1, events=(Event(first_state, keep=4),))
    made = solve(recipe, [2.0, 0.0], [1.0], (0.0, 13.0), rtol=1e-9, atol=1e-9)
    assert made.counts[2, 0] == 4
    np.testing.assert_allclose(made.event_t[0, :, 0], VAN_DER_POL_CROSSINGS, atol=1e-7)


def test_direction_selects_crossings():
    events = (Event(first_state, 1, keep=4), Event(first_state, -1, keep=4))
    made = solve(
        Recipe(van_der_pol, 2, 1, events=events), [2.0, 0.0], [1.0], (0.0, 13.0), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(made.event_t[0, :2, 0], VAN_DER_POL_CROSSINGS[1::2], atol=1e-7)
    np.testing.assert_allclose(made.event_t[1, :2, 0], VAN_DER_POL_CROSSINGS[::2], atol=1e-7)
    assert np.isnan(made.event_t[:, 2:]).all()


def test_events_are_counted_per_run():
    rhos = np.array([[0.5, 21.0]])
    recipe = Recipe(lorenz, 3, 1, events=(Event(first_state),))
    made = solve(recipe, [1.0, 0, 0], rhos, (0.0, 10.0), rtol=1e-9, atol=1e-9)
    assert made.counts[2].tolist() == [0, 1]
    assert made.event_t[0, 0, 1] == pytest.approx(LORENZ_21_CROSSING, abs=1e-8)


def test_a_terminal_event_ends_its_run_there_and_no_other():
    def ball(t, y, p):
        return (y[1], -9.81)

    events = (Event(first_state, -1, terminal=1), Event(lambda t, y, p: y[1], 0))
    heights = np.array([[10.0, 1e4], [0.0, 0.0]])
    ts = np.linspace(0.0, 2.0, 21)
    made = solve(Recipe(ball, 2, 0, events=events), heights, [], (0.0, 2.0), ts=ts)
    fall = 1.4278431229270645
    assert made.status.tolist() == [Status.EVENT, Status.OK]
    assert made.t_end[0] == pytest.approx(fall, rel=1e-9)
    assert made.event_t[0, 0, 0] == made.t_end[0]
    np.testing.assert_array_equal(np.isnan(made.ys[:, 0, 0]), ts > fall)
    assert not np.isnan(made.ys[:, 0, 1]).any()
    final = solve(Recipe(ball, 2, 0, events=events), heights, [], (0.0, 2.0))
    assert abs(final.ys[0, 0, 0]) < 1e-9
    assert final.ys[0, 1, 0] == pytest.approx(-9.81 * fall)


def test_the_second_occurrence_can_be_the_terminal_one_and_later_events_of_the_step_do_not_count():
    def swing(t, y, p):
        return (y[1], -y[0])

    # Three events in the same wide step: at pi (second zero of sin), just before, just after.
    before, after = (lambda t, y, p: t - 3.14), (lambda t, y, p: t - 3.15)
    events = (Event(first_state, terminal=1), Event(before), Event(after))
    made = solve(Recipe(swing, 2, 0, events=events), [0.0, 1.0], [], (0.0, 9.0), rtol=1e-6, atol=1e-6)
    assert made.t_end[0] == pytest.approx(math.pi, abs=1e-5)
    assert made.counts[2:, 0].tolist() == [1, 1, 0]
    twice = solve(
        Recipe(swing, 2, 0, events=(Event(first_state, terminal=2),)),
        [0.0, 1.0],
        [],
        (0.0, 9.0),
        rtol=1e-8,
        atol=1e-8,
    )
    assert twice.t_end[0] == pytest.approx(2 * math.pi, abs=1e-6)


@pytest.mark.parametrize(("kind", "limit"), [("linear", 3e-3), ("cubic", 1e-5)])
def test_sampled_inputs_drive_the_right_hand_side(kind, limit):
    def relaxing(t, y, p, d):
        return (d[0] - y[0],)

    grid = np.linspace(0.0, 10.0, 101)
    drivers = Drivers([np.sin(grid)], 0.0, 0.1, kind)
    ts = np.linspace(0.0, 10.0, 51)
    made = solve(Recipe(relaxing, 1, 0), [0.0], [], (0.0, 10.0), ts=ts, drivers=drivers, rtol=1e-8, atol=1e-8)
    exact = (np.sin(ts) - np.cos(ts) + np.exp(-ts)) / 2
    assert np.abs(made.ys[:, 0, 0] - exact).max() < limit


def test_drivers_hold_their_ends_and_refuse_nonsense():
    def copy(t, y, p, d):
        return (d[0],)

    drivers = Drivers([[1.0, 3.0]], 0.0, 1.0)
    made = solve(
        Recipe(copy, 1, 0), [0.0], [], (-1.0, 2.0), drivers=drivers, ts=[-1.0, 0.0, 1.0, 2.0], rtol=1e-9
    )
    np.testing.assert_allclose(made.ys[:, 0, 0], [0.0, 1.0, 3.0, 6.0], atol=1e-5)
    with pytest.raises(ValueError, match="samples >= 2"):
        Drivers([[1.0]], 0.0, 1.0)
    with pytest.raises(ValueError, match="positive step"):
        Drivers([[1.0, 2.0]], 0.0, 0.0)
