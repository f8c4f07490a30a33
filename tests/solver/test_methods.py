"""The tableaus are those of their authors: order conditions, and orders seen in solutions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from solver.ensemble import integrate
from solver.numerics.methods import METHODS, RungeKutta, method_named
from solver.numerics.recipe import Recipe
from tests.solver.reference_problems import DETEST, kepler, kepler_start, lorenz, lorenz_reference, modulated

EXPLICIT = [m for m in METHODS.values() if isinstance(m, RungeKutta)]


def trees(order):
    """Return all rooted trees of ``order`` as nested sorted tuples."""
    if order == 1:
        return [()]
    found = set()
    for sizes in partitions(order - 1):
        for children in itertools.product(*(trees(size) for size in sizes)):
            found.add(tuple(sorted(children)))
    return sorted(found)


def partitions(total, largest=None):
    largest = largest or total
    if total == 0:
        yield []
    for part in range(min(total, largest), 0, -1):
        for rest in partitions(total - part, part):
            yield [part, *rest]


def density(tree):
    return size(tree) * math.prod(density(child) for child in tree)


def size(tree):
    return 1 + sum(size(child) for child in tree)


def weights_of(tree, a):
    """Return, per stage, the product of the tree's branches."""
    values = np.ones(len(a))
    for child in tree:
        values = values * (a @ weights_of(child, a))
    return values


def square(rows):
    return np.array([[*row, *[0.0] * (len(rows) - len(row))] for row in rows])


@pytest.mark.parametrize("method", EXPLICIT, ids=lambda m: m.name)
def test_order_conditions_hold_up_to_the_order_and_fail_above(method):
    a, b = square(method.a), np.array([*method.a[-1], 0.0])
    for order in range(1, method.order + 1):
        for tree in trees(order):
            assert b @ weights_of(tree, a) == pytest.approx(1 / density(tree), abs=1e-13), tree
    above = [abs(b @ weights_of(tree, a) - 1 / density(tree)) for tree in trees(method.order + 1)]
    assert max(above) > 1e-5


@pytest.mark.parametrize("method", [m for m in EXPLICIT if m.adaptive], ids=lambda m: m.name)
def test_the_embedded_solution_is_one_order_lower(method):
    a, b = square(method.a), np.array([*method.a[-1], 0.0]) - method.error
    for order in range(1, method.error_order):
        for tree in trees(order):
            assert b @ weights_of(tree, a) == pytest.approx(1 / density(tree), abs=1e-13), tree
    below = [abs(b @ weights_of(tree, a) - 1 / density(tree)) for tree in trees(method.error_order)]
    assert max(below) > 1e-5


def weights_within(method, theta):
    """Return the weights of the stages in the interpolant: between both ends, with both derivatives."""
    end, rest = np.array([*method.a[-1], 0.0]), 1 - theta
    first, last = np.eye(method.stages)[[0, -1]]
    bend = (first - end) * rest + (end - last) * theta
    quartic = np.array(method.quartic) if method.quartic else 0
    return theta * end + theta * rest * (bend + theta * rest * quartic)


@pytest.mark.parametrize("method", EXPLICIT, ids=lambda m: m.name)
@pytest.mark.parametrize("theta", [0.3, 0.85])
def test_the_interpolant_meets_its_order_conditions_inside_the_step(method, theta):
    a = square(method.a)
    b = weights_within(method, theta)
    for order in range(1, min(method.order, 4 if method.order == 5 else 3) + 1):
        for tree in trees(order):
            assert b @ weights_of(tree, a) == pytest.approx(theta**order / density(tree), abs=2e-13), tree
    np.testing.assert_allclose(weights_within(method, 1.0), [*method.a[-1], 0.0], atol=1e-14)


@pytest.mark.parametrize("method", [m for m in EXPLICIT if m.quartic], ids=lambda m: m.name)
def test_the_quartic_in_fewer_terms_is_the_quartic(method):
    parts = method.quartic_parts
    first, last = np.eye(method.stages)[[0, -1]]
    whole = parts.increment * np.array([*method.a[-1], 0.0]) + parts.first * first + parts.last * last
    np.testing.assert_allclose(
        whole + parts.inner * np.array(parts.weights), method.quartic, rtol=1e-13, atol=1e-13
    )
    assert np.count_nonzero(parts.weights) < np.count_nonzero(method.quartic[1:-1])
    assert max(parts.weights, key=abs) == 1.0


def test_a_wrong_digit_in_a_tableau_is_noticed():
    tsit5 = METHODS["tsit5"]
    a = square(tsit5.a)
    a[4, 1] += 1e-9
    b = np.array([*tsit5.a[-1], 0.0])
    errors = [
        abs(b @ weights_of(tree, a) - 1 / density(tree)) for order in range(1, 6) for tree in trees(order)
    ]
    assert max(errors) > 1e-11


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="tsit5"):
        method_named("rk45")


def slope_of(recipe, y0, params, t1, exact, counts, **options):
    """Return the fitted order over fixed steps ``t1/n`` for n in counts, all in one batch per n."""
    errors = []
    for n in counts:
        made = integrate(recipe, y0, params, (0.0, t1), h0=t1 / n, **options)
        assert made.counts[0, 0] == n
        errors.append(np.abs(made.ys[0, :, 0] - exact).max())
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


STEPS = {
    "heun2": (160, 640),
    "bs3": (160, 640),
    "rk4": (80, 320),
    "rodas4": (80, 320),
    "dp5": (80, 160, 320),
    "tsit5": (80, 160, 320),
}


@pytest.mark.parametrize("name", [name for name in STEPS if name != "rodas4"])
def test_a_non_autonomous_problem_converges_with_the_order(name):
    rhs, y0, t1, exact = DETEST["A3"]
    measured = slope_of(Recipe(rhs, 1, 0, name, fixed=True), y0, [], t1, exact, STEPS[name], backend="python")
    # tsit5 and rk4 come out up to 0.4 above their order here.
    assert -0.15 < measured - METHODS[name].order < 0.45


def test_rodas4_sees_the_time_derivative():
    recipe, exact = Recipe(modulated, 1, 0, "rodas4", fixed=True), math.exp(math.sin(2.0))
    assert slope_of(recipe, [1.0], [], 2.0, exact, (40, 80, 160), backend="python") == pytest.approx(
        4, abs=0.3
    )


@pytest.mark.parametrize("name", STEPS)
def test_lorenz_converges_with_the_order(name):
    counts = [2 * n if METHODS[name].order < 4 else n // 2 for n in STEPS[name]]
    exact = lorenz_reference([10.0], 1)[:, 0]
    recipe = Recipe(lorenz, 3, 1, name, fixed=True)
    measured = slope_of(recipe, [1.0, 0, 0], [10.0], 1.0, exact, counts, backend="python")
    assert measured == pytest.approx(METHODS[name].order, abs=0.15)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("rk4", (2560, 5120)), ("bs3", (1280, 2560)), ("dp5", (1280, 2560)), ("tsit5", (1280, 2560))],
)
def test_an_orbit_converges_with_the_order(name, counts):
    _, y0, t1, exact = DETEST["D2"]
    recipe = Recipe(kepler, 4, 0, name, fixed=True)
    measured = slope_of(recipe, y0, [], t1, exact, counts, backend="python")
    assert measured == pytest.approx(METHODS[name].order, abs=0.2)


def test_a_wrong_stage_time_spoils_the_order():
    """The plant: the same method on a clock that runs 1 % fast inside the step."""

    def warped(t, y, p):
        return (y[0] * math.cos(1.01 * t),)

    _, y0, t1, exact = DETEST["A3"]
    measured = slope_of(
        Recipe(warped, 1, 0, "tsit5", fixed=True), y0, [], t1, exact, (80, 160, 320), backend="python"
    )
    assert measured < 1


@pytest.mark.parametrize(
    ("name", "order"), [("rk4", 4), ("bs3", 3), ("dp5", 4), ("tsit5", 4), ("heun2", 2), ("rodas4", 3)]
)
def test_dense_output_converges_between_the_steps(name, order):
    errors, counts = [], (20, 40, 80)
    ts = np.linspace(0.0, 2.0, 61)
    for n in counts:
        recipe = Recipe(modulated, 1, 0, name, fixed=True)
        made = integrate(recipe, [1.0], [], (0.0, 2.0), h0=2.0 / n, ts=ts, backend="python")
        errors.append(np.abs(made.ys[:, 0, 0] - np.exp(np.sin(ts))).max())
    measured = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert measured > order - 0.25


def test_kepler_keeps_energy_and_angular_momentum_as_well_as_the_orbit():
    tol = 1e-9
    recipe = Recipe(kepler, 4, 0)
    made = integrate(recipe, kepler_start(0.3), [], (0.0, 20.0), rtol=tol, atol=tol, backend="python")
    exact = [-0.177702735714041169, 0.946778471990589258, -1.03029416319296957, 0.121107489005395216]
    x, y, vx, vy = made.ys[0, :, 0]
    error = np.abs(made.ys[0, :, 0] - exact).max()
    energy = 0.5 * (vx * vx + vy * vy) - 1 / math.hypot(x, y)
    assert error < 500 * tol
    assert abs(energy + 0.5) <= 10 * error
    assert abs(x * vy - y * vx - math.sqrt(1 - 0.09)) <= 10 * error
