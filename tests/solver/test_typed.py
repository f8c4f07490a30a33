"""Functions are retold in one precision: numbers get the right type, indexes stay integers."""

from __future__ import annotations

import math
from math import exp

import numpy as np
import pytest

from solver.codegen.integers import integer_names
from solver.codegen.programs import program
from solver.codegen.scalar import python_math, python_substitute
from solver.codegen.typed import retell
from solver.ensemble import integrate
from solver.numerics.recipe import Recipe
from tests.solver.reference_problems import lorenz

F32 = np.dtype(np.float32)
RATE = 2.5
SIZE = 3
TABLE = np.array([0.1, 0.2, 0.3])


def in_float32(function):
    return retell(function, F32, lambda made: made, python_substitute(F32))


def typed(function, *arguments):
    """Return the result of ``function`` retold, after checking that it is float32 as a whole."""
    result = in_float32(function)(*arguments)
    assert all(isinstance(value, np.float32) for value in result), result
    return result


def helper(x):
    return x + RATE


def test_literals_globals_closures_helpers_and_tables_become_float32():
    inner = 1.5

    def rhs(t, y, p):
        return (
            0.1 * y[0],
            RATE * y[0],
            inner * y[0],
            helper(y[0]),
            TABLE[1] * y[0],
            -1.0 * y[0],
            math.pi * y[0],
        )

    y = (np.float32(3),)
    expected = [np.float32(c) * y[0] for c in (0.1, 2.5, 1.5, 5.5 / 3, 0.2, -1.0, math.pi)]
    assert typed(rhs, np.float32(0), y, ()) == pytest.approx(expected, rel=2e-7)


def test_constant_expressions_are_folded_in_double_first():
    def rhs(t, y, p):
        return (y[0] * (8 / 3), y[0] * (1 - 1 / 3) ** 2)

    result = typed(rhs, np.float32(0), (np.float32(1),), ())
    assert result[0] == np.float32(8 / 3)
    assert result[1] == np.float32((1 - 1 / 3) ** 2)


def test_integers_that_meet_real_numbers_are_typed_and_indexes_stay():
    def rhs(t, y, p):
        total = 0
        for i in range(SIZE):
            j = (i + 1) % SIZE
            total += i * y[i] - 2 * y[j]
        return (total, max(y[0], 0), 1 if y[0] > 2 else y[1], y[0] / 2, SIZE * y[0])

    y = tuple(np.float32([1.0, 2.0, 4.0]))
    assert typed(rhs, np.float32(0), y, ()) == (10.0 - 14.0, 1.0, 2.0, 0.5, 3.0)


def test_powers_become_products():
    def rhs(t, y, p):
        return (y[0] ** 2, y[0] ** 3, y[0] ** 7, y[0] ** -2, y[0] ** 2.0, y[0] ** 0.5)

    y = np.float32(1.1)
    square = y * y
    result = typed(rhs, np.float32(0), (y,), ())
    assert result[:2] == (square, y * square)
    assert result[2] == pytest.approx(1.1**7, rel=1e-6)
    assert result[3] == np.float32(1) / square
    assert result[4] == square
    assert result[5] == np.sqrt(y)


def test_domain_errors_and_overflows_are_values():
    def rhs(t, y, p):
        return (math.sqrt(-y[0]), exp(1000 * y[0]), math.log(0 * y[0]), y[0] / (y[0] - y[0]))

    with np.errstate(all="ignore"):
        nan, inf, minus, division = typed(rhs, np.float32(0), (np.float32(1),), ())
    assert math.isnan(nan)
    assert (inf, minus, division) == (math.inf, -math.inf, math.inf)
    assert isinstance(python_math(F32).sin(1.0), np.float32)


def test_a_lambda_is_found_among_others_on_its_line():
    first, second = (lambda t, y, p: (y[0] * 0.1,)), (lambda t, y, p: (y[0] * 0.2,))
    assert typed(second, 0, (np.float32(1),), ()) == (np.float32(0.2),)
    assert typed(first, 0, (np.float32(1),), ()) == (np.float32(0.1),)


def test_a_compiled_function_is_retold_from_its_python_source():
    import numba

    assert typed(numba.njit(lorenz), 0, tuple(np.float32([1, 2, 3])), (np.float32(5),))[0] == 10.0


def test_source_that_cannot_be_read_is_refused_in_float32_and_taken_as_it_is_in_float64():
    namespace = {}
    exec("def rhs(t, y, p):\n    return (-0.5*y[0],)", namespace)
    with pytest.raises(ValueError, match="cannot read the source of rhs"):
        in_float32(namespace["rhs"])
    made = integrate(Recipe(namespace["rhs"], 1, 0), [1.0], [], (0.0, 1.0), backend="python")
    assert made.ys[0, 0, 0] == pytest.approx(math.exp(-0.5), rel=1e-5)


def test_what_is_no_plain_function_is_refused():
    with pytest.raises(TypeError, match="plain Python function"):
        in_float32(math.sin)


def test_integer_names_are_those_that_only_ever_hold_integers():
    import ast

    text = (
        "n = 2\nfor i in range(n):\n    j = i + n*SIZE\n    k = j*0.5\n    s = 0\n    s += k\n    m = m + 1\n"
    )
    assert integer_names(ast.parse(text), {"SIZE"}) == {"SIZE", "n", "i", "j", "m"}


@pytest.mark.parametrize("count", [2, 4])
def test_a_right_hand_side_of_the_wrong_length_is_refused_with_what_it_returned(count):
    with pytest.raises(ValueError, match=f"tuple of {count} numbers"):
        program(Recipe(lorenz, count, 1), "python") if count > 3 else program(
            Recipe(three, count, 1), "python"
        )


def three(t, y, p):
    return (y[0], y[1], y[0])


def test_equal_recipes_share_one_program():
    assert program(Recipe(lorenz, 3, 1), "python") is program(Recipe(lorenz, 3, 1), "python")
    assert program(Recipe(lorenz, 3, 1), "python") is not program(Recipe(lorenz, 3, 1, "dp5"), "python")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"method": "rk4"}, "no error estimate"),
        ({"method": "euler"}, "no method 'euler'"),
        ({"dtype": np.int32}, "float64 or float32"),
        ({"n_states": 0}, "n_states"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        Recipe(**{"rhs": lorenz, "n_states": 3, "n_params": 1} | change)
