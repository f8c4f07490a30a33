"""Runs side by side that go on alike: the text of a block that makes them strip by strip, with save points.

A strip has as many runs as there are lanes. Its runs begin together, and the next strip begins when all have
ended. In a sweep neighbours take nearly the same steps: so they pass a save point in the same step, it is
evaluated for all of them at once, and what comes of it lies side by side, as in the result. Nothing has to be
gathered, scattered or transposed. Where neighbours are not alike, lanes are idle and points are evaluated for
few runs at a time: then the block ends early, and `solver.codegen.lanes` makes the rest.

A point that all of `PACKED` neighbours have passed goes to where it belongs, a whole cache line past the
caches. What some have yet to pass waits in a tile.
"""

from __future__ import annotations

from solver.codegen.generate import pieces
from solver.codegen.lockstep import Lanes
from solver.codegen.savepoints import PACKED, left_behind
from solver.codegen.text import LINE_BYTES, indent, lined_up
from solver.codegen.tiles import STREAM_BYTES
from solver.numerics.recipe import ARGUMENTS, Recipe

__all__ = ["goes_in_strips", "strips_source"]

IDLE = 1.25
"""Neighbours are not alike when the lanes have taken more than so many times as many steps as the runs."""

SCATTERED = 4
"""Nor are they when points were looked at more than so many times as often as by neighbours in step."""


def goes_in_strips(recipe: Recipe) -> bool:
    """Return whether there are points to be made in strips: kept, and no business of each run alone.

    With half a line at a time, as for float32, lanes that take run after run are the faster ones.
    """
    kept = recipe.points and not recipe.summary and not recipe.events
    return kept and PACKED * recipe.dtype.itemsize == LINE_BYTES


def strips_source(recipe: Recipe, width: int) -> list[str]:
    """Return ``block(lo, hi, ...)`` that makes runs from lo on and returns the first one that is left."""
    lanes = Lanes.of(pieces(recipe, "strips"), width)
    strip = [
        *_begun(lanes),
        "while active != 0:",
        *indent(
            [
                "tries += 1",
                *lanes.attempts(),
                *lanes.points(),
                *lanes.rest(["spent += tries"]),
            ]
        ),
        "if straight:",
        f"    for l in range(0, {width}, {PACKED}):",
        *indent(left_behind(recipe.n_states, f"passed[l//{PACKED}]", "ts.shape[0]"), 2),
        "else:",
        "    for j in range(out.shape[0]):",
        "        for r in range(begin, end):",
        "            out[j, r] = tile[j, r - oldest]",
        "turns += (end - begin)*tries",
        f"oldest += {width}",
        f"if {_unlike()}:",
        "    break",
    ]
    body = [
        "wide_vectors()",
        *lanes.text.once,
        *lanes.made(recipe),
        *_made(recipe, width),
        lanes.each,
        *indent(lanes.idle()),
        "while oldest < hi:",
        *indent(strip),
        "fence()",
        "return min(oldest, hi)",
    ]
    return [f"def block(lo, hi, {', '.join(ARGUMENTS)}):", *indent(body)]


def _made(recipe: Recipe, width: int) -> list[str]:
    """Return lines that make the tile and find where the first strip begins."""
    n, itemsize = recipe.n_states, recipe.dtype.itemsize
    return [
        f"out = ys.reshape(ys.shape[0]*{n}, ys.shape[2])",
        *lined_up("tile", "out.shape[0]", width, itemsize),
        # Steps of lanes and of runs, looks at points and how many there are for vectors of runs.
        "turns = 0",
        "spent = 0",
        "visits = 0",
        "points = 0",
        # Behind the last save point comes none.
        *lined_up("times", "ts.shape[0] + 1", width, itemsize),
        "times[:] = INF",
        "if ts.shape[1] == 1:",
        f"    for l in range({width}):",
        "        times[:ts.shape[0], l] = ts[:, 0]",
        f"passed = np.zeros({width // PACKED}, np.int64)",
        # A line of which two strips have a part each is fetched twice. Where all rows of the result are whole
        # lines, no strip ends within one: the first has so many runs less as lie before lo in it.
        f"past = ys.strides[1] % {LINE_BYTES} == 0 and ys.size >= {STREAM_BYTES // itemsize}",
        f"oldest = lo - ((ys.ctypes.data//{itemsize} + lo) % {width} if past else 0)",
    ]


def _begun(lanes: Lanes) -> list[str]:
    """Return lines that begin all runs of the strip at ``oldest``."""
    return [
        "begin = max(oldest, lo)",
        f"end = min(oldest + {lanes.width}, hi)",
        "active = end - begin",
        f"straight = active == {lanes.width}",
        "passed[:] = 0",
        lanes.each,
        "    r = oldest + l",
        "    if begin <= r < end:",
        "        if ts.shape[1] > 1:",
        "            for j in range(ts.shape[0]):",
        "                times[j, l] = ts[j, r]",
        *indent(lanes.begun(), 2),
        "tries = 0",
        f"points += {lanes.width // PACKED}*ts.shape[0]",
    ]


def _unlike() -> str:
    """Return the text of the condition that the runs so far have not gone on alike."""
    return f"turns > {IDLE!r}*spent or visits > {SCATTERED}*points"
