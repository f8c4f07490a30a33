"""Text for save points: exact at both ends, interpolated inside steps, or worked into summaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from solver.codegen.stages import interpolated
from solver.codegen.text import Vectors, indent

if TYPE_CHECKING:
    from solver.numerics.recipe import Recipe

__all__ = ["PACKED", "Way", "finished_points", "first_points", "left_behind", "points", "way"]

Manner = Literal["alone", "lanes", "strips"]
"""Whether a run goes on by itself, in lanes of any runs, or beside its neighbours."""

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


@dataclass(frozen=True)
class Way:
    """How the save points of a run are seen to.

    Attributes
    ----------
    place
        Where component ``#`` at save point m goes.
    together
        Lines that see to those of several runs at once; empty where `points` sees to each run by itself.
    begun, ended
        Lines for the begin and the end of a run.
    reals, indexes
        What says how far a run has come, beside ``due``.
    """

    place: str
    together: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    reals: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)

    def due(self) -> list[str]:
        """Return what a step does for the save points that it may have passed."""
        return [_RATE] if self.together else ["todo = 1 if t >= due else todo"]


def way(recipe: Recipe, state: Vectors, manner: Manner) -> Way:
    """Return how save points are seen to in programs for ``recipe``.

    They are no business of each run by itself, unless each has to be seen before the next step: to find an
    event, to sum up.
    """
    if manner == "strips":
        return _side_by_side(recipe, state)
    if manner == "lanes" and recipe.points and not recipe.summary:
        place = f"tile[home, m*{state.n} + #]"
        return Way(place, indexes=["m", "first"]) if recipe.events else _in_rows(recipe, state, place)
    return Way("ys[m, #, r]", indexes=["m", "first"] if recipe.points else [])


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


def _in_rows(recipe: Recipe, state: Vectors, place: str) -> Way:
    """Return the way to see to the next save point of `PACKED` runs at once, as vectors.

    Places count items of an array in memory: ``place`` is that of the next point in the tile, ``at`` that of
    the second time to come. Both times are at hand: to wait for one took longer than a point takes. ``bits``
    says which runs have passed their next point. What the others write to the tile is overwritten, by what is
    right or by NaN; `solver.codegen.tiles` has room for it.
    """
    next_points = [
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
    return Way(
        place,
        together=["while bits != 0:", *indent(next_points)],
        begun=[
            f"place = home*tile.shape[1] + m*{state.n}",
            "at = (home*times.shape[1] if times.shape[0] > 1 else 0) + m + 1",
            "later = times[home if times.shape[0] > 1 else 0, m + 1]",
        ],
        ended=[f"m = (place - home*tile.shape[1])//{state.n}"],
        reals=["later"],
        indexes=["at", "place"],
    )


def _side_by_side(recipe: Recipe, state: Vectors) -> Way:
    """Return the way to see to the same save point of `PACKED` neighbours at once.

    Column l of ``times`` has the times of the run in lane l, and infinity behind them. Most runs pass a point
    in the same step: then it goes ``straight`` to where it belongs. Otherwise ``now`` says which have passed
    it; until the last ones have, ``tile`` has it. ``passed`` counts the points that all have passed.
    """
    n, all_bits = state.n, (1 << PACKED) - 1
    evaluated = [
        f"back = {_left('time', 't')}",
        "back = pick(not_after(t, time), 0.0, back)",
        *interpolated(recipe, state, "z", "s", "back"),
    ]
    put = [
        "if past:",
        *indent(state.each_at(f"unpack_past(out, (k*{n} + #, oldest + l), z@)")),
        "else:",
        *indent(state.each_at(f"unpack(out, (k*{n} + #, oldest + l), z@)")),
    ]
    in_step = [
        # All have passed a point, and this one is the next of all.
        f"if straight and bits == {all_bits} and not_after(due, time) == {all_bits}:",
        f"    while bits == {all_bits}:",
        *indent([*evaluated, *put, "k += 1", "time = packed(times, (k, l))", "bits = not_after(time, t)"], 2),
        "    due = time",
        "    level = k",
    ]
    one_by_one = [
        *evaluated,
        "due = pick(now, later, due)",
        "last = not_after(due, time) == 0",
        "if last and straight:",
        f"    if now != {all_bits}:",
        *indent(state.each_at(f"z@ = pick(now, z@, packed(tile, (k*{n} + #, l)))"), 2),
        *indent(left_behind(n, "level", "k")),
        *indent(put),
        "    level = k + 1",
        "else:",
        *indent(state.each_at(f"unpack_where(now, tile, (k*{n} + #, l), z@)")),
        "    level = k + 1 if last else level",
        "bits = not_after(due, t)",
    ]
    together = [
        f"k = passed[l//{PACKED}]",
        "level = k",
        "time = packed(times, (k, l))",
        *in_step,
        "while bits != 0:",
        "    later = packed(times, (k + 1, l))",
        "    now = bits & not_after(due, time)",
        "    if now != 0:",
        *indent(one_by_one, 2),
        "    time = later",
        "    k += 1",
        f"visits += k - passed[l//{PACKED}]",
        f"passed[l//{PACKED}] = level",
    ]
    # What all have passed, a run that ends has passed too.
    ended = [f"m = passed[l//{PACKED}]", "while m < ts.shape[0] and times[m, l] < due:", "    m += 1"]
    return Way(f"tile[m*{n} + #, l]", together=together, ended=ended)


def left_behind(n_states: int, first: str, last: str) -> list[str]:
    """Return lines that take save points first to last - 1 of `PACKED` runs from the tile to the result."""
    return [
        f"for j in range({first}*{n_states}, {last}*{n_states}):",
        "    numbers = packed(tile, (j, l))",
        "    if past:",
        "        unpack_past(out, (j, oldest + l), numbers)",
        "    else:",
        "        unpack(out, (j, oldest + l), numbers)",
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
