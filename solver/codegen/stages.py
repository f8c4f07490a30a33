"""Text that several kinds of step share: slopes, error norms, sums over stages, interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solver.codegen.text import Vectors
    from solver.numerics.recipe import Recipe

__all__ = [
    "drive_arguments",
    "finite_check",
    "interpolated",
    "param_tuple",
    "row",
    "scaled_error",
    "slope_call",
    "stage_sum",
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


def scaled_error(state: Vectors, *estimate: str) -> list[str]:
    """Return lines for ``err``, the largest |e|/tolerance of a component; ``estimate`` computes ``e``.

    Selections, not max(): backends disagree on max() of a NaN. A NaN or an infinity in any component reaches
    ``err`` through ``c``.
    """
    return [
        "err = 0.0",
        "c = 0.0",
        *state.each(
            *estimate,
            "a = abs(s@)",
            "b = abs(v@)",
            "e = abs(e)/(atol + rtol*(a if a > b else b))",
            "c = c + e",
            "err = e if e > err else err",
        ),
        "err = err + 0.0*c",
    ]


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


def interpolated(recipe: Recipe, state: Vectors, target: str, theta: str) -> list[str]:
    """Return lines that set ``target`` to the interpolant at the fraction ``theta`` of a step from ``o``."""
    text = f"q{recipe.dense_degree}_@"
    for j in range(recipe.dense_degree - 1, 0, -1):
        text = f"q{j}_@ + {theta}*({text})"
    return state.each(f"{target}@ = o@ + {theta}*({text})")
