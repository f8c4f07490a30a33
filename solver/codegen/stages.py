"""Text that several kinds of step share: slopes, error norms, sums over stages, interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solver.numerics.methods import Rosenbrock

if TYPE_CHECKING:
    from solver.codegen.text import Vectors
    from solver.numerics.recipe import Recipe

__all__ = [
    "dense_names",
    "drive_arguments",
    "error_scales",
    "finite_check",
    "interpolated",
    "largest_error",
    "param_tuple",
    "row",
    "slope_call",
    "stage_sum",
    "tolerances",
]


def param_tuple(recipe: Recipe) -> str:
    """Return the run's parameters as a tuple display."""
    return "(" + "".join(f"p{j}, " for j in range(recipe.n_params)) + ")"


def drive_arguments(recipe: Recipe) -> list[str]:
    """Return what has to be handed down for the sampled inputs."""
    return ["samples", "grid_start", "grid_rate"] if recipe.n_drivers else []


def slope_call(recipe: Recipe, time: str, state: str) -> str:
    """Return the call of the right-hand side at ``time`` for the tuple text ``state``."""
    return f"slope({', '.join([time, state, param_tuple(recipe), *drive_arguments(recipe)])})"


def tolerances(recipe: Recipe) -> dict[str, str]:
    """Return what an attempt is told of the tolerances, by name: texts for it, the same for all runs.

    Explicit methods want them in units of ``rtol``: that is a product less for each component.
    `solver.ensemble.arguments_for` sees to it that ``rtol`` is not zero.
    """
    if recipe.fixed or isinstance(recipe.scheme, Rosenbrock):
        return {"atol": "atol", "rtol": "rtol"}
    return {"floor": "atol/rtol", "unit": "1.0/rtol"}


def error_scales(state: Vectors) -> list[str]:
    """Return lines for ``per``, one over the error that a component may have, per unit of time and ``rtol``.

    That is ``atol + rtol*(|y| + h*|y'|)``, as in Boost.Odeint: known before the step begins, so that nobody
    waits for these divisions when the step is over; and not tiny where a component passes through zero.
    """
    return state.each("per@ = 1.0/((floor + abs(s@)) + abs(hh*f@))")


def largest_error(state: Vectors, step: str, *scaled: str) -> list[str]:
    """Return lines for ``err``, ``step`` times the largest ``e`` of a component, which ``scaled`` computes.

    Selections, not max(): backends disagree on max() of a NaN. A NaN or an infinity in any component reaches
    ``err`` through ``c``.
    """
    gather = ["c = c + e", "err = e if e > err else err"]
    if state.looped:
        lines = ["c = 0.0", "err = 0.0", *state.each(*scaled, *gather)]
    else:
        first, *others = ([line.replace("@", str(i)) for line in scaled] for i in range(state.n))
        lines = [*first, "c = e", "err = e"]
        for other in others:
            lines += [*other, *gather]
    return [*lines, f"err = {step}err if c <= HUGE else NAN"]


def finite_check(state: Vectors) -> list[str]:
    """Return lines for fixed steps: ``err`` is 0 when the new state is finite, else NaN."""
    return ["c = 0.0", *state.each("c = c + v@"), "err = 0.0*c"]


def row(start: str, n: int) -> str:
    """Return a row of a matrix as the left side of an unpacking: ``start`` is ``"k[q"``."""
    return ", ".join(f"{start}, {i}]" for i in range(n)) + ","


def stage_sum(target: str, weight: str, stages: int) -> list[str]:
    """Return lines for ``target = sum(weight(q) * k[q, i])``."""
    return [
        f"{target} = {weight.format(q=0)}*k[0, i]",
        f"for q in range(1, {stages}):",
        f"    {target} = {target} + {weight.format(q='q')}*k[q, i]",
    ]


def dense_names(recipe: Recipe) -> list[str]:
    """Return the names of the vectors that an attempt hands to the interpolant.

    For explicit methods: the new state less the old, the slope at the old one, and where there is a quartic
    the sum over inner stages in it.
    """
    return [f"q{j}_" for j in range(1, recipe.n_dense + 1)]


def interpolated(recipe: Recipe, state: Vectors, target: str, base: str, back: str) -> list[str]:
    """Return lines for ``target``, the interpolant where ``back`` of a step (0 to 1) is left to its end.

    ``base`` is the state there; where nothing is left, ``target`` equals it. A step prepares as little for it
    as can be: most of it is in factors that all components share.
    """
    lines = [f"th = 1.0 - {back}", f"bump = {back}*th"]
    scheme = recipe.scheme
    if isinstance(scheme, Rosenbrock):
        lines.append("by3 = bump*th")
        return [*lines, *state.each(f"{target}@ = {base}@ + ((bump*q2_@ + by3*q3_@) - {back}*q1_@)")]
    lines.append("arc = hh*bump")
    if not scheme.quartic:
        lines += [
            f"by1 = bump*(th - {back}) - {back}",
            f"by2 = arc*{back}",
            "by3 = arc*th",
        ]
        return [*lines, *state.each(f"{target}@ = {base}@ + ((by1*q1_@ + by2*q2_@) - by3*f@)")]
    quartic = scheme.quartic_parts
    lines += [
        f"by1 = bump*((th - {back}) + {quartic.increment!r}*bump) - {back}",
        f"by2 = arc*({back} + {quartic.first!r}*bump)",
        f"by3 = arc*({quartic.last!r}*bump - th)",
        f"by4 = arc*({quartic.inner!r}*bump)",
    ]
    return [*lines, *state.each(f"{target}@ = {base}@ + ((by1*q1_@ + by2*q2_@) + (by3*f@ + by4*q3_@))")]
