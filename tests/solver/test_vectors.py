"""What the compiler makes of lanes is vectors: with the same bits, scalar code would only be slow."""

from __future__ import annotations

import platform
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from solver.codegen.programs import LANES, program
from solver.ensemble import integrate
from solver.numerics.recipe import Recipe
from tests.solver.reference_problems import lorenz

MULTIPLICATIONS = 100
"""Fewest multiplications of vectors in a Tsit5 step for Lorenz' system, and a few of vectors of points."""


def vector_multiplications(recipe, lanes):
    """Return how many multiplications of the machine's own vectors a compiled program has."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip(f"the test reads the assembly of x86-64, this is {platform.machine()}")
    features = llvm.get_host_cpu_features()
    if not features.get("avx"):
        pytest.skip("this processor has no AVX")
    ts = np.linspace(0.0, 1.0, 9) if recipe.points else None
    integrate(recipe, [1.0, 0, 0], np.ones((1, 2)), (0.0, 1.0), ts=ts, lanes=lanes)
    (assembly,) = program(recipe, "cpu", lanes).inspect_asm().values()
    register = "zmm" if features.get("avx512f") else "ymm"
    return len(re.findall(rf"vmulpd[^\n]*%{register}", assembly))


def test_a_step_of_all_lanes_is_made_of_vectors():
    assert vector_multiplications(Recipe(lorenz, 3, 1), LANES[8]) > MULTIPLICATIONS


def test_a_loop_that_stayed_scalar_is_seen():
    """The plant: for as many lanes as one register has numbers, LLVM makes no vectors."""
    assert vector_multiplications(Recipe(lorenz, 3, 1), 8) < MULTIPLICATIONS


def test_save_points_are_evaluated_as_vectors():
    without = vector_multiplications(Recipe(lorenz, 3, 1), LANES[8])
    states, products_each, of_theta = 3, 4, 2
    found = vector_multiplications(Recipe(lorenz, 3, 1, points=True), LANES[8])
    assert found >= without + states * products_each + of_theta
