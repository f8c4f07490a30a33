"""What the compiler makes of lanes is vectors: with the same bits, scalar code would only be slow."""

from __future__ import annotations

import platform
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from solver.codegen.literals import Held
from solver.codegen.programs import LANES, program
from solver.codegen.text import neighbours
from solver.ensemble import integrate
from solver.numerics.recipe import Recipe
from tests.solver.reference_problems import lorenz

MULTIPLICATIONS = 100
"""Fewest multiplications of vectors in a Tsit5 step for Lorenz' system, and a few of vectors of points."""


def assembly(recipe, lanes):
    """Return the text of a compiled program."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip(f"the test reads the assembly of x86-64, this is {platform.machine()}")
    if not llvm.get_host_cpu_features().get("avx"):
        pytest.skip("this processor has no AVX")
    ts = np.linspace(0.0, 1.0, 9) if recipe.points else None
    integrate(recipe, [1.0, 0, 0], np.ones((1, 2)), (0.0, 1.0), ts=ts, lanes=lanes)
    made = program(recipe, "cpu", lanes)
    (text,) = getattr(made, "strips", made).inspect_asm().values()
    return text


def vector_multiplications(recipe, lanes):
    """Return how many multiplications of the machine's own vectors a compiled program has."""
    text = assembly(recipe, lanes)
    register = "zmm" if llvm.get_host_cpu_features().get("avx512f") else "ymm"
    return len(re.findall(rf"vmulpd[^\n]*%{register}", text))


def test_a_step_of_all_lanes_is_made_of_vectors():
    assert vector_multiplications(Recipe(lorenz, 3, 1), LANES[8]) > MULTIPLICATIONS


def test_a_loop_that_stayed_scalar_is_seen():
    """The plant: for half as many lanes as one register has numbers, LLVM makes no vectors of that width."""
    assert vector_multiplications(Recipe(lorenz, 3, 1), LANES[8] // 4) < MULTIPLICATIONS


def test_save_points_are_evaluated_as_vectors():
    without = vector_multiplications(Recipe(lorenz, 3, 1), LANES[8])
    states, products_each, of_theta = 3, 4, 2
    found = vector_multiplications(Recipe(lorenz, 3, 1, points=True), LANES[8])
    assert found >= without + states * products_each + of_theta


def test_arrays_that_are_used_together_lie_in_one_piece_of_memory():
    made = {"np": np, "real": np.float32}
    exec("\n".join(neighbours([("A", 5, "real", 4), ("B", 3, "np.int64", 8)])), made)
    a, b, memory = made["A"], made["B"], made["memory"]
    assert [(array.size, array.dtype) for array in (a, b)] == [(5, np.float32), (3, np.int64)]
    assert b.ctypes.data - a.ctypes.data == 64
    assert a.ctypes.data % 64 == 0
    assert all(np.shares_memory(array, memory) and not array.any() for array in (a, b))
    assert not np.shares_memory(a, b)


@pytest.fixture
def nothing_known():
    """Compile anew, before and after the test."""
    program.cache_clear()
    yield
    program.cache_clear()


@pytest.mark.usefixtures("nothing_known")
def test_the_numbers_of_a_step_are_not_looked_up_by_their_addresses(monkeypatch):
    recipe, address = Recipe(lorenz, 3, 1), re.compile(r"[$]?\.LCPI\w+[^:\w]")
    found = len(address.findall(assembly(recipe, LANES[8])))
    program.cache_clear()
    monkeypatch.setattr(Held, "visit_FunctionDef", Held.generic_visit)
    assert found < len(address.findall(assembly(recipe, LANES[8]))) / 2
