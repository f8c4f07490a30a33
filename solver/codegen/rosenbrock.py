"""The text of a linearly implicit step: Jacobian by differences, dense LU, one solve per stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solver.codegen.stages import finite_check, largest_error, row, slope_call, stage_sum
from solver.codegen.text import Vectors, indent

if TYPE_CHECKING:
    from solver.numerics.methods import Rosenbrock
    from solver.numerics.recipe import Recipe

__all__ = ["rosenbrock_step"]


def rosenbrock_step(recipe: Recipe, scheme: Rosenbrock, state: Vectors) -> list[str]:
    """Return the body of ``attempt`` for a Rosenbrock method."""
    n, stages = recipe.n_states, scheme.stages
    stage = [
        f"for i in range({n}):",
        "    a = s[i]",
        "    for j in range(q):",
        "        a = a + WEIGHTS[q, j]*k[j, i]",
        "    u[i] = a",
        f"{row('k[q', n)} = {slope_call(recipe, 't + TIMES[q]*hh', state.tuple('u'))}",
        f"for i in range({n}):",
        "    a = k[q, i] + (hh*GAMMAS[q])*g[i]",
        "    for j in range(q):",
        "        a = a + (COUPLINGS[q, j]/hh)*k[j, i]",
        "    k[q, i] = a",
        *_solve(n),
    ]
    lines = [
        *_linearised(recipe, scheme, state),
        *_factorised(n),
        f"for q in range({stages}):",
        *indent(stage),
        *state.each(f"v@ = u@ + k[{stages - 1}, i]"),
        *(finite_check(state) if recipe.fixed else largest_error(state, "", *_scaled(f"k[{stages - 1}, i]"))),
    ]
    if recipe.dense:
        inner, outer = (stage_sum(t, f"DENSE[{j}, {{q}}]", stages) for j, t in enumerate(("a", "b")))
        coefficients = ("q1_@ = v@ - s@", "q2_@ = a", "q3_@ = b")
        lines += state.each(*inner, *outer, *coefficients)
    return [*lines, "return err"]


def _scaled(estimate: str) -> list[str]:
    """Return lines for ``e``, ``estimate`` over its tolerance: ``h*|y'|`` is no measure of what is stiff."""
    return ["a = abs(s@)", "b = abs(v@)", f"e = abs({estimate})/(atol + rtol*(a if a > b else b))"]


def _linearised(recipe: Recipe, scheme: Rosenbrock, state: Vectors) -> list[str]:
    """Return lines for I/(hh*gamma) - J in ``lu`` and df/dt in ``g``, by forward differences."""
    n = recipe.n_states
    return [
        f"{state.targets('f')} = {slope_call(recipe, 't', state.tuple('s'))}",
        *state.each("u@ = s@"),
        # Components below atol/rtol do not matter, so the step of the difference may be of that size; a fixed
        # floor, as in RODAS, hides the slow modes of a system whose small components stay small.
        "c = atol/rtol",
        "c = c if c < 1.0 else 1.0",
        "c = c if c > 1e-8 else 1e-8",
        f"for j in range({n}):",
        "    a = abs(s[j])",
        "    u[j] = s[j] + ROOT_EPS*(a if a > c else c)",
        "    b = u[j] - s[j]",  # the difference that was really made, after rounding
        f"    {state.targets('w')} = {slope_call(recipe, 't', state.tuple('u'))}",
        *indent(state.each("lu[i, j] = (f@ - w@)/b")),
        "    u[j] = s[j]",
        *state.each(f"lu[i, i] = lu[i, i] + 1.0/(hh*{scheme.gamma!r})"),
        "a = abs(t)",
        "b = t + ROOT_EPS*(a if a > 1e-5 else 1e-5)",
        f"{state.targets('w')} = {slope_call(recipe, 'b', state.tuple('s'))}",
        *state.each("g@ = (w@ - f@)/(b - t)"),
    ]


def _factorised(n: int) -> list[str]:
    """Return lines of an LU factorisation in place with partial pivoting."""
    return [
        f"for m in range({n}):",
        "    best = m",
        f"    for i in range(m + 1, {n}):",
        "        if abs(lu[i, m]) > abs(lu[best, m]):",
        "            best = i",
        "    pivot[m] = best",
        f"    for j in range({n}):",
        "        a = lu[m, j]",
        "        lu[m, j] = lu[best, j]",
        "        lu[best, j] = a",
        f"    for i in range(m + 1, {n}):",
        "        a = lu[i, m]/lu[m, m]",
        "        lu[i, m] = a",
        f"        for j in range(m + 1, {n}):",
        "            lu[i, j] = lu[i, j] - a*lu[m, j]",
    ]


def _solve(n: int) -> list[str]:
    """Return lines that replace row q of ``k`` by the solution of the factorised system."""
    return [
        f"for m in range({n}):",
        "    best = pivot[m]",
        "    a = k[q, best]",
        "    k[q, best] = k[q, m]",
        "    k[q, m] = a",
        f"for i in range({n}):",
        "    for j in range(i):",
        "        k[q, i] = k[q, i] - lu[i, j]*k[q, j]",
        f"for m in range({n}):",
        f"    i = {n - 1} - m",
        f"    for j in range(i + 1, {n}):",
        "        k[q, i] = k[q, i] - lu[i, j]*k[q, j]",
        "    k[q, i] = k[q, i]/lu[i, i]",
    ]
