"""Neighbours that go on in strips get the bits that each would have alone, however unlike they are."""

from __future__ import annotations

import numpy as np
import pytest

from solver.codegen.programs import LANES, program
from solver.codegen.tiles import STREAM_BYTES
from solver.ensemble import arguments_for
from solver.numerics.recipe import Event, Recipe
from tests.solver.reference_problems import first_state, lorenz

FIELDS = ("ys", "t_end", "event_t", "counts", "status_out")
WIDTH = LANES[8]
START = np.array([[1.0], [0.0], [0.0]])
SPAN = np.array([[0.0], [2.0]])
TIMES = np.linspace(0.0, 2.0, 41)[:, None]


def blow_up(t, y, p):
    return (y[0] * y[0],)


class Batch:
    """Inputs of a program, and what comes of them."""

    def __init__(self, recipe, y0, params, span, ts, *, max_steps=100_000):
        self.recipe = recipe
        given = (y0, params, span, ts, np.empty((0, 0, 0)))
        self.inputs = tuple(np.ascontiguousarray(array, recipe.dtype) for array in given)
        self.n_runs = max(array.shape[1] for array in given[:4])
        self.max_steps = max_steps

    def made(self, make):
        """Return the outputs by name, after ``make(lo, hi, *arguments)`` for all runs."""
        shapes = self.recipe.outputs(self.n_runs, len(self.inputs[3]))
        # What nobody writes is seen.
        outputs = {name: np.full(shape, 77, dtype) for name, (shape, dtype) in shapes.items()}
        arguments = arguments_for(
            self.recipe,
            self.inputs,
            tuple(outputs.values()),
            h0=0.0,
            rtol=1e-6,
            atol=1e-8,
            max_steps=self.max_steps,
        )
        make(0, self.n_runs, *arguments)
        return outputs

    def alone(self):
        """Return what plain code makes of each run by itself."""
        return self.made(program(self.recipe, "cpu", 1))

    def in_strips(self, cuts=()):
        """Return what strips make of all runs: unlike neighbours are not left to anybody else."""
        strips = program(self.recipe, "cpu").strips

        def make(lo, hi, *arguments):
            for start, end in zip((lo, *cuts), (*cuts, hi), strict=True):
                begin = start
                while begin < end:
                    begin = strips(begin, end, *arguments)

        return self.made(make)


def assert_same(found, expected):
    for name in FIELDS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def sweep(n_runs, ts=TIMES):
    return Batch(Recipe(lorenz, 3, 1, points=True), START, np.linspace(0, 21, n_runs)[None], SPAN, ts)


def runs_left(batch):
    """Return how many runs strips leave to others."""
    left = []
    strips = program(batch.recipe, "cpu").strips
    batch.made(lambda lo, hi, *arguments: left.append(hi - strips(lo, hi, *arguments)))
    return left[0]


def test_a_sweep_is_made_in_strips():
    assert runs_left(sweep(10 * WIDTH)) == 0


@pytest.mark.parametrize("first", [1, WIDTH - 1])
def test_a_strip_that_is_not_full_is_no_reason_to_leave_the_rest(first):
    batch, left = sweep(10 * WIDTH + first), []
    strips = program(batch.recipe, "cpu").strips

    def make(lo, hi, *arguments):
        left.append(first - strips(lo, first, *arguments))
        left.append(hi - strips(first, hi, *arguments))

    batch.made(make)
    assert left == [0, 0]


def unlike(n_runs):
    """Return runs of which every second one takes many times as many steps as its neighbours."""
    span = np.tile(SPAN, n_runs)
    span[1, ::2] = 40.0
    rhos = np.random.default_rng(1).permutation(np.linspace(0.0, 40.0, n_runs))[None]
    return Batch(Recipe(lorenz, 3, 1, points=True), START, rhos, span, np.linspace(0, 40, 201)[:, None])


def test_neighbours_that_are_not_alike_are_left_to_lanes_that_take_run_after_run():
    batch = unlike(10 * WIDTH)
    assert runs_left(batch) >= 8 * WIDTH
    assert_same(batch.made(program(batch.recipe, "cpu")), batch.alone())


def test_neighbours_that_take_as_many_steps_at_other_times_are_not_alike():
    n_runs = 10 * WIDTH
    span, ts = np.tile(SPAN, n_runs), np.linspace(0.0, 20.0, 2001)[:, None]
    span += np.arange(n_runs) % WIDTH
    batch = Batch(Recipe(lorenz, 3, 1, points=True), START, np.array([[10.0]]), span, ts)
    assert runs_left(batch) >= 8 * WIDTH
    assert_same(batch.made(program(batch.recipe, "cpu")), batch.alone())


def test_unlike_neighbours_in_strips():
    batch = unlike(3 * WIDTH)
    assert_same(batch.in_strips(), batch.alone())


@pytest.mark.parametrize("n_runs", [1, 7, 8, WIDTH, WIDTH + 1, 50])
def test_strips_that_are_not_full(n_runs):
    batch = sweep(n_runs)
    assert_same(batch.in_strips(), batch.alone())


def test_slices_that_begin_anywhere():
    batch = sweep(100)
    assert_same(batch.in_strips(cuts=(1, 9, 10, 37, 69)), batch.alone())


# Rows of whole cache lines, which go past the caches, and others.
@pytest.mark.parametrize("n_runs", [400, 391])
def test_results_as_large_as_go_past_the_caches(n_runs):
    batch = sweep(n_runs, np.linspace(0.0, 2.0, 1001)[:, None])
    found = batch.in_strips(cuts=(203,))
    assert found["ys"].nbytes > STREAM_BYTES
    assert_same(found, batch.alone())


@pytest.mark.parametrize("n_points", [0, 1, 2])
def test_few_points(n_points):
    batch = sweep(40, np.linspace(0.1, 1.9, n_points)[:, None])
    assert_same(batch.in_strips(), batch.alone())


def test_points_at_one_time_outside_the_span_and_never():
    times = [-np.inf, -1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.7, 2.0, 2.0, 3.0, np.inf]
    batch = sweep(40, np.array(times)[:, None])
    found = batch.in_strips()
    assert_same(found, batch.alone())
    assert np.isnan(found["ys"][:, 0, 20]).tolist() == [not 0 <= time <= 2 for time in times]


def test_times_and_spans_of_each_run():
    n_runs = 60
    shift = np.linspace(0.0, 0.6, n_runs)
    shift[::7] += 0.3
    batch = Batch(
        Recipe(lorenz, 3, 1, points=True),
        START,
        np.linspace(0, 21, n_runs)[None],
        np.stack([shift, 2.0 - shift]),
        TIMES + shift,
    )
    assert_same(batch.in_strips(), batch.alone())


@pytest.mark.parametrize("failing", [[3], [0, 1, 2, 3, 4, 5, 6, 7], range(WIDTH), [8, 15, 16, 30]])
def test_runs_that_fail_beside_others_that_do_not(failing):
    """Some end in the middle of the span: their points after that are NaN, and nobody waits for them."""
    y0 = np.full((1, 50), 0.1)
    y0[0, list(failing)] = np.linspace(0.9, 1.7, len(failing))
    ts = np.linspace(0.0, 2.0, 101)[:, None]
    batch = Batch(Recipe(blow_up, 1, 0, points=True), y0, np.empty((0, 1)), SPAN, ts, max_steps=300)
    found = batch.in_strips()
    assert_same(found, batch.alone())
    assert np.isnan(found["ys"][-1, 0]).sum() == len(failing)
    assert not np.isnan(found["ys"][1, 0]).any()


def test_runs_that_begin_with_nan():
    y0 = np.tile(START, 40)
    y0[0, [0, 17, 18]] = np.nan
    batch = Batch(Recipe(lorenz, 3, 1, points=True), y0, np.linspace(0, 21, 40)[None], SPAN, TIMES)
    assert_same(batch.in_strips(), batch.alone())


@pytest.mark.parametrize("max_steps", [1, 5, 20])
def test_runs_that_may_not_take_as_many_steps(max_steps):
    batch = sweep(40)
    batch.max_steps = max_steps
    assert_same(batch.in_strips(), batch.alone())


@pytest.mark.parametrize(
    "options",
    [
        {"points": False},
        {"points": True, "events": (Event(first_state),)},
        {"points": True, "summary": ("mean",)},
        {"points": True, "dtype": np.float32},
    ],
)
def test_what_is_not_made_in_strips(options):
    assert not hasattr(program(Recipe(lorenz, 3, 1, **options), "cpu"), "strips")
