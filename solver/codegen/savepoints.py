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


def first_points(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    """Return lines for the save points up to the start: y0 itself at the start, nothing before.

    ``place`` is where component ``#`` at save point m goes, here and below.
    """
    early = ["first = m + 1"] if recipe.summary else _nothing(state, place)
    return [
        "m = 0",
        "first = 0",
        *_empty_summaries(recipe),
        "column = r if ts.shape[1] > 1 else 0",
        "while 0 <= m < ts.shape[0] and ts[m, column] <= t:",
        "    if ts[m, column] < t:",
        *indent(early, 2),
        "    else:",
        *indent([*state.each("z@ = s@"), *_kept(recipe, state, place)], 2),
        "    m += 1",
        *_NEXT,
    ]


def points_due(*, apart: bool) -> list[str]:
    """Return what a step does for the save points that it may have passed."""
    return [_RATE] if apart else ["todo = 1 if t >= due else todo"]


def points(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    """Return lines for the save points that the last step has passed."""
    base, end = ("o", "reached") if recipe.events else ("s", "t")
    return [
        "column = r if ts.shape[1] > 1 else 0",
        _RATE,
        "while 0 <= m < ts.shape[0] and ts[m, column] <= t:",
        *indent(
            [
                f"back = {_left('ts[m, column]', end)}",
                f"back = back if ts[m, column] < {end} else 0.0",
                *interpolated(recipe, state, "z", base, "back"),
                *_kept(recipe, state, place),
                "m += 1",
            ]
        ),
        *_NEXT,
    ]


def first_places(state: Vectors) -> list[str]:
    """Return lines that begin a run for `points_together`.

    Places count items of an array in memory: ``place`` is that of the next point in the tile, ``at`` that of
    the second time to come. Both times are at hand: to wait for one took longer than a point takes.
    """
    return [
        f"place = home*tile.shape[1] + m*{state.n}",
        "at = (home*times.shape[1] if times.shape[0] > 1 else 0) + m + 1",
        "later = times[home if times.shape[0] > 1 else 0, m + 1]",
    ]


def last_places(state: Vectors) -> list[str]:
    """Return lines that end it."""
    return [f"m = (place - home*tile.shape[1])//{state.n}"]


def points_together(recipe: Recipe, state: Vectors) -> list[str]:
    """Return lines that do what `points` does for `PACKED` runs at once: the next point of each, as vectors.

    ``bits`` says which runs have passed their next point. What the others write to the tile is overwritten,
    by what is right or by NaN; `solver.codegen.tiles` has room for it.
    """
    return [
        "while bits != 0:",
        *indent(
            [
                f"back = {_left('due', 't')}",
                "back = pick(not_after(t, due), 0.0, back)",
                "due = pick(bits, later, due)",
                # Of runs that are not concerned, once more the time that it is.
                "at = pick(bits, at + 1, at)",
                "later = gather(times, at)",
                *interpolated(recipe, state, "z", "s", "back"),
                f"scatter(tile, place, {state.tuple('z')})",
                f"place = pick(bits, place + {state.n}, place)",
                "bits = not_after(due, t)",
            ]
        ),
    ]


_RATE = "rate = 1.0/hh"


def _left(time: str, end: str) -> str:
    """Return the text of how much of the last step, which led to ``end``, is left after ``time``: 0 to 1."""
    return f"(({end} - {time}) - lag)*rate"


def _empty_summaries(recipe: Recipe) -> list[str]:
    neutral = {"mean": "0.0", "min": "INF", "max": "-INF", "final": "0.0"}
    lines = []
    for k, kind in enumerate(recipe.summary):
        lines += [f"for i in range({recipe.n_states}):", f"    ys[{k}, i, r] = {neutral[kind]}"]
    return lines


def _nothing(state: Vectors, place: str) -> list[str]:
    return [f"for i in range({state.n}):", f"    {place.replace('#', 'i')} = NAN"]


def _kept(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    """Return lines that keep the state ``z`` at save point m, or work it into the summaries."""
    if not recipe.summary:
        return state.each_at(f"{place} = z@")
    lines = []
    for k, kind in enumerate(recipe.summary):
        if kind == "mean":
            lines += state.each_at(f"ys[{k}, #, r] = ys[{k}, #, r] + z@")
        elif kind != "final":
            better = "<" if kind == "min" else ">"
            lines += state.each_at(f"a = ys[{k}, #, r]", f"ys[{k}, #, r] = z@ if z@ {better} a else a")
    return lines


def finished_points(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    """Return lines for the end of a run: points that it did not reach are NaN, summaries are completed."""
    if recipe.summary:
        return _finished_summaries(recipe, state)
    return [
        "while 0 <= m < ts.shape[0]:",
        *indent([*_nothing(state, place), "m += 1"]),
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
