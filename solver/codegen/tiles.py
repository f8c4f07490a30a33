"""Results on their way out: text for the tile that takes the save points of some runs, and for emptying it.

Eight runs share each cache line of the result, come to it at different times, and write nowhere near it in
between: a line would go to memory and back several times. A tile stays in the cache and has the points of
each run in a row, one after the other. When all runs that share a strip of the result have ended, their rows
are written there transposed, some numbers after each step: memory takes them while the lanes compute. Then
the rows are free for runs to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solver.codegen.savepoints import PACKED
from solver.codegen.text import LINE_BYTES

if TYPE_CHECKING:
    from solver.numerics.recipe import Recipe

__all__ = ["STRIP_BYTES", "Tile"]

TILE_BYTES = 1 << 19
"""Preferred size of a tile. It has to stay in a core's own cache. Where it is full, lanes stand idle until
all runs of the oldest strip have ended."""

STREAM_BYTES = 1 << 22
"""Results from this size on are written past the caches. They would not stay there, and a whole line
need not be fetched to be written."""

STRIP_BYTES = 128
"""Bytes written side by side: memory takes pairs of lines nearly twice as fast as single ones."""


class Tile:
    """The text of a tile for a recipe and a number of lanes.

    The row of run r is ``home``. The row before the first is for what idle lanes write.
    """

    def __init__(self, recipe: Recipe, width: int) -> None:
        self.n_states, self.itemsize, self.width = recipe.n_states, recipe.dtype.itemsize, width
        self.strip = STRIP_BYTES // self.itemsize

    def made(self) -> list[str]:
        """Return lines that make the tile for the runs lo to hi."""
        n, strip = self.n_states, self.strip
        return [
            # Vectors reach beyond the last point. Odd: different runs lie in different sets of a cache.
            f"room = (ts.shape[0] + {PACKED}) | 1",
            f"size = min(max({TILE_BYTES}//(room*{n * self.itemsize}), {2 * self.width}), hi - lo + {strip})",
            f"size = (size + {strip - 1})//{strip}*{strip}",
            f"tile = np.empty((size + 1, room*{n}), real)[1:]",
            "times = np.full((size if ts.shape[1] > 1 else 1, room), NAN)",
            "if ts.shape[1] == 1:",
            "    times[0, :ts.shape[0]] = ts[:, 0]",
            f"out = ys.reshape(ys.shape[0]*{n}, ys.shape[2])",
            # A line of which two strips have a part each is fetched twice. Where all rows of the result are
            # whole lines, no strip ends within one: the first has so many runs less as lie before lo in it.
            f"past = ys.strides[1] % {LINE_BYTES} == 0 and ys.size >= {STREAM_BYTES // self.itemsize}",
            f"base = lo - ((ys.ctypes.data//{self.itemsize} + lo) % {strip} if past else 0)",
            # The oldest strip: its first run, the row of that, how many runs it has, how much is written.
            "oldest = base",
            "front = 0",
            f"of = min(base + {strip}, hi) - lo",
            "written = 0",
            f"ended = np.zeros(size//{strip}, np.int64)",
        ]

    def begun(self) -> list[str]:
        """Return lines that give run r a row."""
        return [
            "home = (r - base) % size",
            "if ts.shape[1] > 1:",
            "    for j in range(ts.shape[0]):",
            "        times[home, j] = ts[j, r]",
        ]

    def ended(self) -> list[str]:
        """Return lines that note the end of the run in row ``home``."""
        return [f"ended[home//{self.strip}] += 1"]

    def written(self) -> list[str]:
        """Return lines that write some of the oldest strip when all its runs have ended."""
        strip = self.strip
        return [
            f"if oldest < hi and ended[front//{strip}] == of:",
            f"    if of == {strip} and out.shape[0] >= {PACKED}:",
            # The last rows may be some of those before.
            f"        j = min(written, out.shape[0] - {PACKED})",
            "        if past:",
            "            stream(tile, (front, j), out, (j, oldest))",
            "        else:",
            "            turn(tile, (front, j), out, (j, oldest))",
            f"        written = j + {PACKED}",
            "    else:",
            f"        for r in range(max(oldest, lo), min(oldest + {strip}, hi)):",
            "            for j in range(out.shape[0]):",
            "                out[j, r] = tile[front + (r - oldest), j]",
            "        written = out.shape[0]",
            "    if written == out.shape[0]:",
            f"        ended[front//{strip}] = 0",
            f"        oldest += {strip}",
            f"        front = (front + {strip}) % size",
            f"        of = min(oldest + {strip}, hi) - oldest",
            "        written = 0",
            "        refill = True",
        ]
