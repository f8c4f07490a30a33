"""Text for events: crossings found on the interpolant, counted, recorded, and ending a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solver.codegen.stages import interpolated, param_tuple
from solver.codegen.text import Vectors, indent
from solver.numerics.status import Status

if TYPE_CHECKING:
    from solver.numerics.recipe import Recipe

__all__ = ["crossings", "first_signs", "settled_events"]


def first_signs(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines that begin to watch at the start of a run; a zero there is no event."""
    lines = []
    for e in range(len(recipe.events)):
        lines += [
            f"g{e} = watch{e}(t, {state.tuple('s')}, {param_tuple(recipe)})",
            f"counts[{2 + e}, r] = 0",
            f"for j in range({recipe.keep}):",
            f"    event_t[{e}, j, r] = NAN",
        ]
    return lines


def crossings(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines of the branch-free part: ``x`` is 1 or -1 where an event's sign has changed, else 0."""
    lines = []
    for e, event in enumerate(recipe.events):
        lines += [
            f"a = watch{e}(t, {state.tuple('s')}, {param_tuple(recipe)})",
            f"x{e} = 0.0",
            *([f"x{e} = 1.0 if (g{e} < 0.0 and a >= 0.0) else x{e}"] if event.direction >= 0 else []),
            *([f"x{e} = -1.0 if (g{e} > 0.0 and a <= 0.0) else x{e}"] if event.direction <= 0 else []),
            f"g{e} = a",
            f"todo = 1 if x{e} != 0.0 else todo",
        ]
    return lines


def settled_events(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines that place each crossing, end the run at a terminal one, and record those before it."""
    lines = ["edge = 2.0"]
    for e, event in enumerate(recipe.events):
        lines += [f"at{e} = 3.0", f"if x{e} != 0.0:", *indent(_bisected(recipe, state, e))]
        if event.terminal:
            due = f"x{e} != 0.0 and counts[{2 + e}, r] + 1 >= {event.terminal} and at{e} < edge"
            lines += [f"if {due}:", f"    edge = at{e}"]
    for e, event in enumerate(recipe.events):
        record = [
            f"if counts[{2 + e}, r] < {event.keep}:",
            f"    event_t[{e}, counts[{2 + e}, r], r] = told + (at{e}*hh - lag0)",
            f"counts[{2 + e}, r] += 1",
        ]
        lines += [f"if at{e} <= edge and at{e} <= 1.0:", *indent(record)]
    cut = [
        "t = told + (edge*hh - lag0)",
        "back = 1.0 - edge",
        *interpolated(recipe, state, "s", "o", "back"),
        f"status = whole({Status.EVENT:d})",
    ]
    return [*lines, "if edge <= 1.0:", *indent(cut)]


def _bisected(recipe: Recipe, state: Vectors, e: int) -> list[str]:
    """Return lines that halve the step until ``at`` is the first float after the crossing."""
    bits = 53 if recipe.dtype.itemsize == 8 else 24
    return [
        "a = 0.0",
        "b = 1.0",
        f"for j in range({bits}):",
        *indent(
            [
                "middle = 0.5*(a + b)",
                "back = 1.0 - middle",
                *interpolated(recipe, state, "z", "o", "back"),
                f"c = watch{e}(told + (middle*hh - lag0), {state.tuple('z')}, {param_tuple(recipe)})",
                f"late = c*x{e} >= 0.0",
                "a = a if late else middle",
                "b = middle if late else b",
            ]
        ),
        f"at{e} = b",
    ]
