"""The C program that the benchmark measures against does the same work: the same bits, step for step."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from benchmarks.yardstick import STRICT, Yardstick, compiled
from solver.ensemble import integrate
from solver.numerics.recipe import Recipe
from tests.solver.reference_problems import lorenz

SETTINGS = {"h0": 1e-3, "rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def code():
    if shutil.which("g++") is None:
        pytest.skip("no g++ on PATH to compile the C program with")
    return compiled(STRICT)


def both(code, rho, ts, **settings):
    theirs = Yardstick(code, rho, 10.0, ts, **settings)
    theirs()
    return theirs, integrate(Recipe(lorenz, 3, 1), [1.0, 0, 0], rho[None], (0.0, 10.0), ts=ts, **settings)


@pytest.mark.parametrize("n_points", [0, 100])
def test_the_c_program_returns_the_same_bits_and_takes_the_same_steps(code, n_points):
    ts = np.linspace(0.0, 10.0, n_points) if n_points else None
    theirs, ours = both(code, np.linspace(0.0, 21.0, 203), ts, **SETTINGS)
    assert (ours.status == 0).all()
    assert ours.counts[1].any(), "no step was rejected: the test is too easy"
    for name in ("ys", "counts", "status"):
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), err_msg=name)


def test_failing_runs_fail_alike(code):
    rho = np.array([10.0, np.nan, 1e200, 21.0, 1e308, 0.5, np.inf] * 5)
    theirs, ours = both(code, rho, None, max_steps=200, **SETTINGS)
    assert len(set(ours.status)) > 2
    np.testing.assert_array_equal(theirs.status, ours.status)
    np.testing.assert_array_equal(theirs.counts, ours.counts)
