"""Text for save points: exact at both ends, interpolated inside steps, or worked into summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solver.codegen.stages import interpolated
from solver.codegen.text import Vectors, indent

if TYPE_CHECKING:
    from solver.numerics.recipe import Recipe

__all__ = ["PACKED", "finished_points", "first_points", "points", "points_together"]

PACKED = 8
"""How many numbers, of as many runs, `solver.codegen.packed` takes together: eight doubles fill a register of
AVX-512."""

_NEXT = [
    "due = INF",
    "if 0 <= m < ts.shape[0]:",
    "    due = ts[m, column]",
]
"""Lines that find the time of save point m; infinity when there is none.

``0 <= m`` always holds; a compiler that knows it leaves out what an index below zero would need.
"""


def first_points(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines for the save points up to the start: y0 itself at the start, nothing before."""
    early = ["first = m + 1"] if recipe.summary else [f"for i in range({state.n}):", "    ys[m, i, r] = NAN"]
    return [
        "m = 0",
        "first = 0",
        *_empty_summaries(recipe),
        "column = r if ts.shape[1] > 1 else 0",
        "while 0 <= m < ts.shape[0] and ts[m, column] <= t:",
        "    if ts[m, column] < t:",
        *indent(early, 2),
        "    else:",
        *indent([*state.each("z@ = s@"), *_kept(recipe, state)], 2),
        "    m += 1",
        *_NEXT,
    ]


def points(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines for the save points that the last step has passed."""
    inside = [f"th = {_fraction('ts[m, column]')}", *interpolated(recipe, state, "z", "th")]
    return [
        "column = r if ts.shape[1] > 1 else 0",
        _RATE,
        "while 0 <= m < ts.shape[0] and ts[m, column] <= t:",
        *indent(
            [
                *state.each("z@ = s@"),
                "if ts[m, column] < t:",
                *indent(inside),
                *_kept(recipe, state),
                "m += 1",
            ]
        ),
        *_NEXT,
    ]


def points_together(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines that do what `points` does for `PACKED` runs at once: the next point of each, as vectors.

    ``bits`` says which runs have passed their next point. What the others write there is overwritten, by what
    is right or by NaN; ``ts`` and ``ys`` need room for it after the last point, and before the first run
    for lanes without one (run -1).
    """
    return [
        _RATE,
        f"home = run*(ys.strides[2]//{recipe.dtype.itemsize})",
        "line = run*ts.shape[0] if ts.shape[1] > 1 else run*0",
        # The time after the next one is fetched ahead: to wait for it took longer than a point takes.
        "later = gather(ts, line + (m + 1), bits, due)",
        "while bits != 0:",
        *indent(
            [
                f"th = {_fraction('due')}",
                *interpolated(recipe, state, "z", "th"),
                # The end of the step is exact.
                "ended = not_after(t, due)",
                *state.each("z@ = pick(ended, s@, z@)"),
                f"scatter(ys, home + m*{state.n}, {state.tuple('z')})",
                "m = pick(bits, m + 1, m)",
                "due = pick(bits, later, due)",
                "later = gather(ts, line + (m + 1), bits, later)",
                "bits = not_after(due, t)",
            ]
        ),
    ]


_RATE = "rate = 1.0/hh"


def _fraction(time: str) -> str:
    """Return the text of where ``time`` is in the last step: 0 at its start, 1 at its end."""
    return f"(({time} - told) + lag0)*rate"


def _empty_summaries(recipe: Recipe) -> list[str]:
    neutral = {"mean": "0.0", "min": "INF", "max": "-INF", "final": "0.0"}
    lines = []
    for k, kind in enumerate(recipe.summary):
        lines += [f"for i in range({recipe.n_states}):", f"    ys[{k}, i, r] = {neutral[kind]}"]
    return lines


def _kept(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines that keep the state ``z`` at save point m, or work it into the summaries."""
    if not recipe.summary:
        return state.each_at("ys[m, #, r] = z@")
    lines = []
    for k, kind in enumerate(recipe.summary):
        if kind == "mean":
            lines += state.each_at(f"ys[{k}, #, r] = ys[{k}, #, r] + z@")
        elif kind != "final":
            better = "<" if kind == "min" else ">"
            lines += state.each_at(f"a = ys[{k}, #, r]", f"ys[{k}, #, r] = z@ if z@ {better} a else a")
    return lines


def finished_points(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines for the end of a run: points that it did not reach are NaN, summaries are completed."""
    if recipe.summary:
        return _finished_summaries(recipe, state)
    return [
        "while 0 <= m < ts.shape[0]:",
        f"    for i in range({state.n}):",
        "        ys[m, i, r] = NAN",
        "    m += 1",
    ]


def _finished_summaries(recipe: Recipe, state: Vectors) -> list[str]:
    lines = ["a = real(m - first)"]
    for k, kind in enumerate(recipe.summary):
        if kind == "mean":
            lines += state.each_at(f"ys[{k}, #, r] = ys[{k}, #, r]/a if m > first else NAN")
        elif kind == "final":
            lines += state.each_at(f"ys[{k}, #, r] = s@")
        else:
            lines += state.each_at(f"ys[{k}, #, r] = ys[{k}, #, r] if m > first else NAN")
    return lines
