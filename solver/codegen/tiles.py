"""Results on their way out: text for the tile that takes the save points of some runs, and for emptying it.

Eight runs share each cache line of the result, come to it at different times, and write nowhere near it in
between: a line would go to memory and back several times. A tile stays in the cache, has the points of each
run in a row, one after the other, and is copied out transposed, in long rows.
"""

from __future__ import annotations

from solver.codegen.savepoints import PACKED
from solver.codegen.text import aligned, indent
from solver.numerics.recipe import ARGUMENTS, Recipe

__all__ = ["tiled", "tiled_block_source"]

TILE_BYTES = 1 << 19
"""Preferred size of a tile; at most twice that. It has to stay in a core's own cache."""

STREAM_BYTES = 1 << 22
"""Results from this size on are written past the caches. They would not stay there, and a line that is
written as a whole need not be fetched: where the result is in no cache, a copy takes half the time."""

LINE_BYTES = 64
"""Bytes that memory and the caches exchange as one."""

TILE_WIDTHS = 8
"""Fewest runs of a tile, in widths: lanes stand idle until the last run of a tile has ended."""


def tiled(recipe: Recipe) -> bool:
    """Return whether results go by way of a tile: where each run writes in many places."""
    return recipe.points and not recipe.summary


def tiled_block_source(recipe: Recipe, width: int) -> list[str]:
    """Return ``block(lo, hi, ...)`` that calls ``lanes`` for so many runs at a time as fit in a tile."""
    n_states, itemsize = recipe.n_states, recipe.dtype.itemsize
    line = min(LINE_BYTES // itemsize, width)
    body = [
        # Vectors reach beyond the last point. Odd: lines of different runs lie in different sets of a cache.
        f"room = (ts.shape[0] + {PACKED}) | 1",
        f"run_bytes = {n_states * itemsize}*room",
        f"fitting = min({TILE_WIDTHS * width}, {2 * TILE_BYTES}//run_bytes)",
        f"fitting = max({TILE_BYTES}//run_bytes, fitting, {width})",
        f"past = ys.size*{itemsize} >= {STREAM_BYTES} and ys.strides[2] == {itemsize}",
        # A line of which two tiles write a part each is fetched twice: where all rows of the result are whole
        # lines, tiles end with one. The first has so many runs less as lie before it in its first line.
        f"before = (ys.ctypes.data//{itemsize} + lo) % {line} if past else 0",
        "tiles = max((hi - lo + before + fitting - 1)//fitting, 1)",
        f"size = max((hi - lo + before + tiles*{width} - 1)//(tiles*{width}), 1)*{width}",
        # A row more, before the first: lanes without a run write there.
        f"tile = np.empty((size + 1, room*{n_states}), real)[1:]",
        *aligned("rows", f"{PACKED}*size", "real", itemsize),
        f"rows = rows[:{PACKED}*size].reshape({PACKED}, size)",
        "times = np.full((size if ts.shape[1] > 1 else 1, room), NAN)",
        "if ts.shape[1] == 1:",
        "    times[0, :ts.shape[0]] = ts[:, 0]",
        "for a in range(lo - before, hi, size):",
        *indent(
            [
                "b = max(a, lo)",
                "e = min(a + size, hi)",
                "if ts.shape[1] > 1:",
                "    for j in range(e - b):",
                "        times[j, :ts.shape[0]] = ts[:, b + j]",
                f"lanes(0, e - b, {', '.join(map(_cut, ARGUMENTS))})",
                f"for c in range(0, ys.shape[0]*{n_states}, {PACKED}):",
                f"    for j in range(0, size, {PACKED}):",
                "        turn(tile, (j, c), rows, (0, j))",
                f"    for k in range(min({PACKED}, ys.shape[0]*{n_states} - c)):",
                f"        m = (c + k)//{n_states}",
                f"        i = (c + k) - {n_states}*m",
                *indent(_row_out(itemsize), 2),
            ]
        ),
        "fence()",
    ]
    return [f"def block(lo, hi, {', '.join(ARGUMENTS)}):", *indent(body)]


def _row_out(itemsize: int) -> list[str]:
    """Return lines that write ``rows[k]`` to component i at point m, past the caches where it can be."""
    return [
        "j = 0",
        "if past:",
        # Those are whole vectors on their natural boundaries.
        "    place = ys.ctypes.data + m*ys.strides[0] + i*ys.strides[1]",
        f"    lead = min(-(place//{itemsize} + b) % {PACKED}, e - b)",
        "    while j < lead:",
        "        ys[m, i, b + j] = rows[k, j]",
        "        j += 1",
        f"    while j + {PACKED} <= e - b:",
        "        stream(ys, (m, i, b + j), packed(rows, (k, j)))",
        f"        j += {PACKED}",
        "while j < e - b:",
        "    ys[m, i, b + j] = rows[k, j]",
        "    j += 1",
    ]


def _cut(name: str) -> str:
    """Return the text of an argument of a program for the runs b to e - 1."""
    if name in {"y0", "params", "span"}:
        return f"{name}[:, (b if {name}.shape[1] > 1 else 0):(e if {name}.shape[1] > 1 else 1)]"
    return {
        "ts": "times.T",
        "ys": "tile.reshape(size, room, tile.shape[1]//room).transpose(1, 2, 0)",
        "t_end": "t_end[b:e]",
        "event_t": "event_t[:, :, b:e]",
        "counts": "counts[:, b:e]",
        "status_out": "status_out[b:e]",
    }.get(name, name)
