"""Python, compiled code, SIMD lanes and the simulator return the same bits, whatever a program does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solver.codegen.tiles import STREAM_BYTES
from solver.ensemble import integrate
from solver.numerics.drivers import Drivers
from solver.numerics.recipe import Event, Recipe
from tests.solver.reference_problems import first_state, lorenz, modulated, robertson, van_der_pol

N_RUNS = 37
RHOS = np.linspace(0.0, 21.0, N_RUNS)[None, :]
START = [1.0, 0.0, 0.0]
FIELDS = ("ys", "t_end", "event_t", "counts", "status")


def bits(made):
    return {name: getattr(made, name).tobytes() for name in FIELDS}


def assert_all_backends_agree(recipe, *arguments, scalar=True, **options):
    """Return the result, after asserting that all ways to make it are equal to the last bit.

    ``scalar=False`` leaves compiled plain code out: compilation is what these tests spend their time on.
    """
    expected = integrate(recipe, *arguments, backend="python", **options)
    ways = {
        "cpu": integrate(recipe, *arguments, backend="cpu", **options),
        "sim": integrate(recipe, *arguments, backend="sim", **options),
    }
    if scalar and not recipe.looped:
        ways["scalar"] = integrate(recipe, *arguments, backend="cpu", lanes=1, **options)
    for way, made in ways.items():
        for name in FIELDS:
            theirs, ours = getattr(made, name), getattr(expected, name)
            assert theirs.dtype == ours.dtype
            np.testing.assert_array_equal(theirs, ours, err_msg=f"{way}: {name}")
    return expected


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_final_states_and_step_counts(dtype):
    made = assert_all_backends_agree(Recipe(lorenz, 3, 1, dtype=dtype), START, RHOS, (0.0, 10.0))
    assert (made.status == 0).all()
    assert (made.counts[1] > 0).any(), "no step was rejected: the test is too easy"


@pytest.mark.parametrize("method", ["rk4", "heun2", "bs3", "dp5"])
def test_every_method(method):
    recipe = Recipe(lorenz, 3, 1, method, fixed=method == "rk4")
    assert_all_backends_agree(
        recipe, START, RHOS[:, :8], (0.0, 1.0), h0=1e-2, rtol=1e-4, atol=1e-6, scalar=False
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_save_points_events_spans_and_failures_together(dtype):
    recipe = Recipe(
        lorenz, 3, 1, dtype=dtype, events=(Event(first_state, keep=2), Event(first_state, -1, terminal=2))
    )
    starts = np.tile(np.array(START)[:, None], N_RUNS)
    starts[0, 3], starts[1, 9] = np.nan, 1e300 if dtype is np.float64 else 1e37
    spans = np.stack([np.linspace(0.0, 1.0, N_RUNS), np.linspace(1.5, 12.0, N_RUNS)])
    made = assert_all_backends_agree(
        recipe,
        starts,
        40 * RHOS / 21,
        spans,
        ts=np.linspace(0.0, 12.0, 25),
        max_steps=300,
        scalar=dtype is np.float32,
    )
    assert set(made.status) >= {0, 1, 2, 4}


# Rows of whole cache lines, of which strips are made, and others.
@pytest.mark.parametrize("n_runs", [391, 400])
@pytest.mark.parametrize(
    ("shared", "events", "dtype"),
    [
        (True, (), np.float64),
        (True, (), np.float32),
        (False, (), np.float64),
        (False, (Event(first_state, keep=2),), np.float64),
    ],
)
def test_results_that_go_through_a_tile_many_times(n_runs, shared, events, dtype):
    n_points = 501 if dtype is np.float64 else 1001
    recipe = Recipe(lorenz, 3, 1, points=True, events=events, dtype=dtype)
    assert n_runs * n_points * 3 * recipe.dtype.itemsize > STREAM_BYTES
    rhos, ts = np.linspace(0.0, 40.0, n_runs)[None, :], np.linspace(0.0, 2.0, n_points)
    spans, starts = (0.0, 2.0), START
    if not shared:
        shift = np.linspace(0.0, 0.3, n_runs)
        spans, ts = np.stack([shift, 2.0 - shift]), ts[:, None] + shift
        starts = np.tile(np.array(START)[:, None], n_runs)
        starts[0, 200] = np.nan
    made = integrate(recipe, starts, rhos, spans, ts=ts)
    plain = integrate(recipe, starts, rhos, spans, ts=ts, lanes=1)
    assert bits(made) == bits(plain)
    assert len(set(made.status)) == (1 if shared else 2)
    assert made.counts[2:].any() == bool(events)


@pytest.mark.parametrize("n_points", [0, 1, 2, 3])
def test_fewer_numbers_of_a_run_than_a_square_has(n_points):
    recipe, ts = Recipe(lorenz, 3, 1), np.linspace(0.2, 0.8, n_points)
    rhos = np.linspace(0.0, 21.0, 70)[None, :]
    made = integrate(recipe, START, rhos, (0.0, 1.0), ts=ts)
    assert bits(made) == bits(integrate(recipe, START, rhos, (0.0, 1.0), ts=ts, lanes=1))


def one_state(t, y, p):
    return (p[0] - y[0] * y[0],)


def two_states(t, y, p):
    return (y[1], -p[0] * y[0])


def five_states(t, y, p):
    return (y[1] - y[0], y[2] - y[1], y[3] - y[2], y[4] - y[3], p[0] - y[4] * y[0])


@pytest.mark.parametrize(
    ("rhs", "n_states", "dtype"),
    [
        (one_state, 1, np.float32),
        (two_states, 2, np.float64),
        (five_states, 5, np.float32),
        (five_states, 5, np.float64),
    ],
)
def test_points_of_systems_of_any_size(rhs, n_states, dtype):
    """Lanes that pass none, one and many points in a step; twice the same point, and both ends."""
    start = np.ones((n_states, N_RUNS))
    start[0, 5] = np.nan
    spans = np.stack([np.linspace(0.0, 1.0, N_RUNS), np.linspace(1.5, 3.0, N_RUNS)])
    dense = np.linspace(1.4, 1.6, 40)
    ts = np.sort(np.concatenate([[-1.0, 0.0, 0.5, 0.5, 3.0, 3.0, 4.0], spans[1], dense]))
    recipe = Recipe(rhs, n_states, 1, dtype=dtype)
    made = integrate(recipe, start, 1.0 + RHOS, spans, ts=ts, backend="cpu")
    expected = integrate(recipe, start, 1.0 + RHOS, spans, ts=ts, backend="python")
    assert bits(made) == bits(expected)
    reached = np.delete((ts[:, None] >= spans[0]) & (ts[:, None] <= spans[1]), 5, axis=1)
    np.testing.assert_array_equal(~np.isnan(np.delete(made.ys, 5, axis=2)).any(axis=1), reached)


def test_stiff_systems():
    rates = np.linspace(0.5, 2.0, 5)[None, :]

    def scaled(t, y, p):
        slow, fast, square = 0.04 * p[0] * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return (fast - slow, slow - fast - square, square)

    assert_all_backends_agree(
        Recipe(scaled, 3, 1, "rodas4"), START, rates, (0.0, 40.0), ts=np.linspace(0, 40, 7), atol=1e-10
    )


def test_systems_beyond_straight_line_code():
    def ring(t, y, p):
        total = 0
        for i in range(10):
            total += y[i] * y[(i + 1) % 10]
        return (
            y[1] - y[0] + p[0],
            y[2] - y[1],
            y[3] - y[2],
            y[4] - y[3],
            y[5] - y[4],
            y[6] - y[5],
            y[7] - y[6],
            y[8] - y[7],
            y[9] - y[8],
            -total / 10,
        )

    recipe = Recipe(ring, 10, 1, "tsit5", dtype=np.float32, events=(Event(first_state),))
    starts = np.cos(np.arange(10.0)[:, None] + np.arange(5.0))
    assert_all_backends_agree(recipe, starts, np.ones((1, 5)), (0.0, 3.0), ts=np.linspace(0, 3, 4), rtol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_sampled_inputs(kind):
    def forced(t, y, p, d):
        return (p[0] * (d[0] - y[0]), y[0] * d[1])

    grid = np.linspace(0.0, 4.0, 41)
    drivers = Drivers([np.sin(grid), np.exp(-grid)], 0.0, 0.1, kind)
    rates = np.linspace(0.5, 5.0, 9)[None, :]
    assert_all_backends_agree(
        Recipe(forced, 2, 1, "heun2"), [0.0, 1.0], rates, (-0.5, 5.0), drivers=drivers, scalar=False
    )


def test_summaries():
    recipe = Recipe(lorenz, 3, 1, "bs3", points=True, summary=("mean", "min", "max", "final"))
    assert_all_backends_agree(
        recipe, START, RHOS[:, :9], (0.0, 2.0), ts=np.linspace(0.0, 2.0, 21), scalar=False
    )


def test_branches_powers_helpers_and_globals_of_a_right_hand_side():
    stiffness = 3

    def clipped(x):
        return max(0, x)

    def mixed(t, y, p):
        drive = 1 if t < 0.5 else math.sqrt(t) ** 2
        return (stiffness * (drive - y[0] ** 3) + 2**-1, max(clipped(y[0]), 1) - y[1] ** -2 + math.pi / 4)

    for dtype in (np.float64, np.float32):
        made = assert_all_backends_agree(
            Recipe(mixed, 2, 0, "heun2", dtype=dtype),
            [[0.1, 0.4], [1, 2]],
            [],
            (0.0, 2.0),
            rtol=1e-4,
            atol=1e-4,
            scalar=dtype is np.float32,
        )
        assert (made.status == 0).all()


def test_library_functions_in_double_precision():
    assert_all_backends_agree(
        Recipe(modulated, 1, 0, "heun2"), [1.0], [], (0.0, 5.0), rtol=1e-4, scalar=False
    )


def test_a_planted_difference_of_one_bit_is_seen():
    recipe = Recipe(lorenz, 3, 1)
    made = integrate(recipe, START, RHOS, (0.0, 10.0))
    nudged = np.nextafter(RHOS, 30.0)
    assert bits(integrate(recipe, START, nudged, (0.0, 10.0))) != bits(made)


def test_contraction_changes_bits_but_not_accuracy():
    strict = integrate(Recipe(van_der_pol, 2, 1), [2.0, 0.0], [1.0], (0.0, 5.0))
    fused = integrate(Recipe(van_der_pol, 2, 1, contract=True), [2.0, 0.0], [1.0], (0.0, 5.0))
    np.testing.assert_allclose(fused.ys, strict.ys, rtol=1e-9)


def test_a_stiff_run_agrees_when_it_fails():
    assert_all_backends_agree(Recipe(robertson, 3, 0, "rodas4"), START, [], (0.0, 40.0), max_steps=5)
