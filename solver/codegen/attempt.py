"""The text of ``attempt``: one step from (t, s) of length hh, without a branch that depends on its success.

It returns ``err`` (largest scaled error of a component; NaN or inf when something is not finite), the new
state ``v``, the derivative there ``w`` and, where the program interpolates, the vectors ``q1_, q2_, ...``
of which `solver.codegen.stages.interpolated` makes the interpolant. Straight-line code returns them as one
tuple; the looped form writes them into the arrays that it is given and returns ``err``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from solver.codegen.rosenbrock import rosenbrock_step
from solver.codegen.stages import (
    dense_names,
    drive_arguments,
    error_scales,
    finite_check,
    largest_error,
    row,
    slope_call,
    stage_sum,
    tolerances,
)
from solver.codegen.text import Vectors, indent, scaled
from solver.numerics.methods import Rosenbrock, RungeKutta

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solver.numerics.recipe import Recipe

__all__ = ["attempt_call", "attempt_source", "local_arrays", "tables"]


def local_arrays(recipe: Recipe) -> dict[str, str]:
    """Return name and shape text of the local arrays of the looped form, besides the interpolant's."""
    n, stages = recipe.n_states, recipe.scheme.stages
    shapes = dict.fromkeys(("s", "f", "v", "w", "u", "per", "z"), f"{n}") | {"k": f"({stages}, {n})"}
    if recipe.events:
        shapes |= {"o": f"{n}"}
    if isinstance(recipe.scheme, Rosenbrock):
        shapes |= {"lu": f"({n}, {n})", "g": f"{n}"}
    return shapes | dict.fromkeys(dense_names(recipe), f"{n}")


def _scratch(recipe: Recipe) -> list[str]:
    names = ["k", "u", "per"] + (["lu", "g", "pivot"] if isinstance(recipe.scheme, Rosenbrock) else [])
    return names + dense_names(recipe)


def attempt_call(recipe: Recipe, state: Vectors) -> str:
    """Return the line of the run loop that makes one attempt."""
    given = ["t", "hh", *tolerances(recipe), *state.passed("s", "f")]
    rest = [*(f"p{j}" for j in range(recipe.n_params)), *drive_arguments(recipe)]
    if state.looped:
        return f"err = attempt({', '.join([*given, 'v', 'w', *_scratch(recipe), *rest])})"
    results = ["err", *state.passed("v", "w", *dense_names(recipe))]
    return f"{', '.join(results)} = attempt({', '.join([*given, *rest])})"


def attempt_source(recipe: Recipe) -> list[str]:
    """Return the lines of ``attempt`` for the recipe."""
    state = Vectors(recipe.n_states, recipe.looped)
    head = f"def {attempt_call(recipe, state).split(' = ')[1]}:"
    scheme = recipe.scheme
    if isinstance(scheme, Rosenbrock):
        return [head, *indent(rosenbrock_step(recipe, scheme, state))]
    body = _looped(recipe, scheme, state) if state.looped else _unrolled(recipe, scheme, state)
    return [head, *indent(body)]


def tables(recipe: Recipe) -> dict[str, NDArray[Any]]:
    """Return the method's numbers as constant arrays for the looped form; empty for straight-line code."""
    scheme = recipe.scheme
    if not recipe.looped:
        return {}
    if isinstance(scheme, Rosenbrock):
        raw: dict[str, Any] = {
            "TIMES": scheme.alpha,
            "WEIGHTS": _square(scheme.a),
            "COUPLINGS": _square(scheme.c),
            "GAMMAS": scheme.gammas,
            "DENSE": scheme.dense,
        }
    else:
        raw = {
            "TIMES": scheme.c,
            "WEIGHTS": _square(scheme.a),
            "ERRORS": scheme.error,
            "QUARTIC": scheme.quartic_parts.weights if scheme.quartic else (),
        }
    return {name: np.array(rows, dtype=recipe.dtype) for name, rows in raw.items()}


def _square(rows: tuple[tuple[float, ...], ...]) -> list[list[float]]:
    return [[*row, *[0.0] * (len(rows) - len(row))] for row in rows]


def _unrolled(recipe: Recipe, scheme: RungeKutta, state: Vectors) -> list[str]:
    last = scheme.stages - 1
    name = {q: ("f@" if q == 0 else "w@" if q == last else f"k{q}_@") for q in range(scheme.stages)}
    stages = [name[q] for q in range(scheme.stages)]
    lines: list[str] = []
    for q in range(1, scheme.stages):
        # Early enough for nobody to wait for these divisions; earlier they would be in the way.
        if q == scheme.stages // 2 + 1 and not recipe.fixed:
            lines += error_scales(state)
        lines += _point(scheme, state, q, stages)
        point, slopes = "v" if q == last else "u", state.targets(name[q].removesuffix("@"))
        lines.append(f"{slopes} = {slope_call(recipe, f't + {scheme.c[q]!r}*hh', state.tuple(point))}")
    if recipe.fixed:
        lines += finite_check(state)
    else:
        scale, total = scaled(scheme.error, stages)
        lines += largest_error(state, f"(hh*({abs(scale)!r}*unit))*", f"e = abs({total})*per@")
    if recipe.dense:
        lines += state.each("q2_@ = f@")
        if scheme.quartic:
            lines += state.each(f"q3_@ = {scaled(scheme.quartic_parts.weights, stages)[1]}")
    return [*lines, f"return {', '.join(['err', *state.passed('v', 'w', *dense_names(recipe))])}"]


def _point(scheme: RungeKutta, state: Vectors, q: int, stages: list[str]) -> list[str]:
    """Return lines for where stage ``q`` looks at the slope; the last one is at the new state."""
    *early, newest = scheme.a[q][:q]
    # Only one product waits for the newest slope. The new state itself is rounded once.
    lines, known, newest_term = [f"a = hh*{newest!r}"], "", f"a*{stages[q - 1]}"
    if any(early):
        scale, total = scaled(early, stages)
        lines.append(f"b = hh*{scale!r}")
        known = f"b*({total}) + "
    if q == scheme.stages - 1:
        return [*lines, *state.each(f"q1_@ = {known}{newest_term}", "v@ = s@ + q1_@")]
    return [*lines, *state.each(f"u@ = s@ + {known}{newest_term}")]


def _looped(recipe: Recipe, scheme: RungeKutta, state: Vectors) -> list[str]:
    n, stages = recipe.n_states, scheme.stages
    stage = [
        f"for i in range({n}):",
        "    a = WEIGHTS[q, 0]*k[0, i]",
        "    for j in range(1, q):",
        "        a = a + WEIGHTS[q, j]*k[j, i]",
        "    u[i] = s[i] + hh*a",
        f"{row('k[q', n)} = {slope_call(recipe, 't + TIMES[q]*hh', state.tuple('u'))}",
    ]
    lines = [
        *([] if recipe.fixed else error_scales(state)),
        *state.each("k[0, i] = f@"),
        f"for q in range(1, {stages}):",
        *indent(stage),
        *state.each("v@ = u@", f"w@ = k[{stages - 1}, i]"),
    ]
    if recipe.fixed:
        lines += finite_check(state)
    else:
        lines += largest_error(state, "(hh*unit)*", *stage_sum("e", "ERRORS[{q}]", stages), "e = abs(e)*per@")
    if recipe.dense:
        lines += state.each("q1_@ = v@ - s@", "q2_@ = f@")
        if scheme.quartic:
            lines += state.each(*stage_sum("a", "QUARTIC[{q}]", stages), "q3_@ = a")
    return [*lines, "return err"]
