"""Many runs in lockstep on one core: the text of a block whose inner loop a compiler turns into SIMD.

A lane holds one run; every lane has its own time, step size and verdict, and takes the next run when its own
ends, so that lanes are never idle for long. LLVM vectorises the loop over lanes only when all of these hold
(each was found by measurement): everything is inlined; the width is at least two registers; nothing in the
loop calls a library; and all lane variables live in one flat buffer per type with constant offsets, because
among dozens of separate arrays its alias checks give up.
"""

from __future__ import annotations

from dataclasses import dataclass

from solver.codegen.generate import Pieces, pieces
from solver.codegen.savepoints import PACKED
from solver.codegen.text import indent
from solver.numerics.recipe import ARGUMENTS, Recipe

__all__ = ["block_source", "scalar_block_source", "tiled", "tiled_block_source"]

TILE_BYTES = 1 << 19
"""Preferred size of the tile that takes the save points of some runs on their way out; at most twice that. It
has to stay in a core's own cache."""

STREAM_BYTES = 1 << 22
"""Results from this size on are written past the caches. They would not stay there, and a line that is
written as a whole need not be fetched: where the result is in no cache, a copy takes half the time."""

TILE_WIDTHS = 8
"""Fewest runs of a tile, in widths: lanes stand idle until the last run of a tile has ended."""


def scalar_block_source() -> list[str]:
    """Return ``block(lo, hi, ...)`` that makes the runs lo to hi one after the other."""
    arguments = ", ".join(ARGUMENTS)
    return [
        f"def block(lo, hi, {arguments}):",
        "    for r in range(lo, hi):",
        f"        one(r, {arguments})",
    ]


def tiled(recipe: Recipe) -> bool:
    """Return whether results go by way of a tile: where each run writes in many places."""
    return recipe.points and not recipe.summary


def tiled_block_source(recipe: Recipe, width: int) -> list[str]:
    """Return ``block(lo, hi, ...)`` that calls ``lanes`` for so many runs at a time as fit in a tile.

    Eight runs share each cache line of the result, come to it at different times, and write nowhere near it
    in between: a line would go to memory and back several times. A tile stays in the cache, has the points of
    each component of a run in a row, and is copied out transposed, in long rows.
    """
    n_states, itemsize = recipe.n_states, recipe.dtype.itemsize
    return [
        f"def block(lo, hi, {', '.join(ARGUMENTS)}):",
        # Odd: lines of different runs lie in different sets of a cache, however many points and states.
        f"    room = (ts.shape[0] + {PACKED}) | 1",
        f"    run_bytes = {n_states * itemsize}*room",
        f"    fitting = min({TILE_WIDTHS * width}, {2 * TILE_BYTES}//run_bytes)",
        f"    fitting = max({TILE_BYTES}//run_bytes, fitting, {width})",
        "    tiles = max((hi - lo + fitting - 1)//fitting, 1)",
        f"    size = max((hi - lo + tiles*{width} - 1)//(tiles*{width}), 1)*{width}",
        f"    tile = np.empty((size, {n_states}, room), real)",
        f"    rows = np.empty(({PACKED}, size), real)",
        "    times = np.full((size if ts.shape[1] > 1 else 1, room), NAN)",
        "    if ts.shape[1] == 1:",
        "        times[0, :ts.shape[0]] = ts[:, 0]",
        f"    past = ys.size*{itemsize} >= {STREAM_BYTES} and ys.strides[2] == {itemsize}",
        "    for b in range(lo, hi, size):",
        "        e = min(b + size, hi)",
        "        if ts.shape[1] > 1:",
        "            for j in range(e - b):",
        "                times[j, :ts.shape[0]] = ts[:, b + j]",
        f"        lanes(0, e - b, {', '.join(map(_cut, ARGUMENTS))})",
        f"        for i in range({n_states}):",
        f"            for m in range(0, ys.shape[0], {PACKED}):",
        f"                for j in range(0, size, {PACKED}):",
        "                    turn(tile, (j, i, m), rows, (0, j))",
        f"                for k in range(min({PACKED}, ys.shape[0] - m)):",
        *indent(_row_out(itemsize), 5),
        "    fence()",
    ]


def _row_out(itemsize: int) -> list[str]:
    """Return lines that write ``rows[k]`` to point m + k of component i, past the caches where it can be."""
    return [
        "j = 0",
        "if past:",
        # Those are whole vectors on their natural boundaries.
        "    place = ys.ctypes.data + (m + k)*ys.strides[0] + i*ys.strides[1]",
        f"    lead = min(-(place//{itemsize} + b) % {PACKED}, e - b)",
        "    while j < lead:",
        "        ys[m + k, i, b + j] = rows[k, j]",
        "        j += 1",
        f"    while j + {PACKED} <= e - b:",
        "        stream(ys, (m + k, i, b + j), packed(rows, (k, j)))",
        f"        j += {PACKED}",
        "while j < e - b:",
        "    ys[m + k, i, b + j] = rows[k, j]",
        "    j += 1",
    ]


def _cut(name: str) -> str:
    """Return the text of an argument of a program for the runs b to e - 1."""
    if name in {"y0", "params", "span"}:
        return f"{name}[:, (b if {name}.shape[1] > 1 else 0):(e if {name}.shape[1] > 1 else 1)]"
    return {
        "ts": "times.T",
        "ys": "tile.T",
        "t_end": "t_end[b:e]",
        "event_t": "event_t[:, :, b:e]",
        "counts": "counts[:, b:e]",
        "status_out": "status_out[b:e]",
    }.get(name, name)


def block_source(recipe: Recipe, width: int, name: str = "block") -> list[str]:
    """Return ``block(lo, hi, ...)`` that makes the runs lo to hi in ``width`` lanes."""
    text = pieces(recipe, lanes=True)
    store = _Store.of(text, width)
    body = [
        "wide_vectors()",
        *_aligned("Z", store.n_reals * width, "real", recipe.dtype.itemsize),
        *_aligned("N", store.n_integers * width, "np.int64", 8),
        f"for l in range({width}):",
        *indent(store.idle(text)),
        "upcoming = lo",
        "active = 0",
        "refill = True",
        "while True:",
        "    if refill:",
        *indent(_refill(text, store, width), 2),
        "    if active == 0:",
        "        break",
        *indent(_attempts(text, store, width)),
        *indent(_points(text, store, width) if text.together else []),
        "    if busy != 0:",
        *indent(_rest(text, store, width), 2),
    ]
    return [f"def {name}(lo, hi, {', '.join(ARGUMENTS)}):", *indent(body)]


def _aligned(name: str, size: int, kind: str, itemsize: int) -> list[str]:
    """Return lines that make an array of zeros that begins where a cache line does."""
    spare = 64 // itemsize
    return [
        f"{name} = np.zeros({size + spare}, {kind})",
        f"{name} = {name}[(-{name}.ctypes.data // {itemsize}) % {spare}:]",
    ]


@dataclass(frozen=True)
class _Store:
    """Where each lane keeps the numbers of its run: by name, a place in one of the two buffers."""

    at: dict[str, str]
    place: dict[str, int]
    n_reals: int
    n_integers: int

    @classmethod
    def of(cls, text: Pieces, width: int) -> _Store:
        reals = [*text.read, *text.kept_reals, *text.reals, *text.handed_reals]
        integers = [*text.integers, *text.handed_integers, *text.kept_integers, "run"]
        at = {name: f"Z[{i * width} + l]" for i, name in enumerate(reals)}
        at |= {name: f"N[{i * width} + l]" for i, name in enumerate(integers)}
        place = {name: i * width for i, name in enumerate(reals)}
        return cls(at, place, len(reals), len(integers))

    def idle(self, text: Pieces) -> list[str]:
        """Return lines that take the run from a lane, in which no save point is due then."""
        return [f"{self.at['run']} = -1", *([f"{self.at['due']} = INF"] if text.together else [])]

    def load(self, *groups: list[str]) -> list[str]:
        return [f"{name} = {self.at[name]}" for group in groups for name in group]

    def save(self, *groups: list[str]) -> list[str]:
        return [f"{self.at[name]} = {name}" for group in groups for name in group]


def _refill(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return lines that give every free lane the next run."""
    begin = [
        "r = upcoming",
        "upcoming += 1",
        "active += 1",
        f"{store.at['run']} = r",
        *text.load,
        *text.start,
        *store.save(text.read, text.reals, text.integers, text.kept_reals, text.kept_integers),
    ]
    return [
        "refill = False",
        f"for l in range({width}):",
        f"    if {store.at['run']} < 0 and upcoming < hi:",
        *indent(begin, 2),
    ]


def _attempts(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return the loop that is vectorised: one attempt in every lane."""
    attempt = [
        *store.load(text.read, text.kept_reals, text.reals, text.integers),
        *text.step,
        # A lane without a run goes on stepping over stale numbers; nobody looks at it.
        f"todo = todo if {store.at['run']} >= 0 else 0",
        "busy |= todo",
        *store.save(text.reals, text.integers, text.handed_reals, text.handed_integers),
    ]
    return ["busy = 0", f"for l in range({width}):", *indent(attempt)]


def _points(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return lines for the save points of those lanes that have passed some."""
    evaluate = [
        f"r = {store.at['run']}",
        *store.load(text.reals, text.handed_reals, ["m"]),
        *text.together,
        *store.save(["due", "m"]),
    ]
    due, t = store.place["due"], store.place["t"]
    return [
        "bits = 0",
        *(
            f"bits |= not_after(packed(Z, ({due + k},)), packed(Z, ({t + k},))) << {k}"
            for k in range(0, width, PACKED)
        ),
        "while bits != 0:",
        "    l = lowest(bits)",
        "    bits &= bits - 1",
        *indent(evaluate),
    ]


def _rest(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return lines that do, lane by lane, what is due after an attempt."""
    kept = [text.kept_reals, text.kept_integers]
    after = [
        f"r = {store.at['run']}",
        *store.load(text.read, text.reals, text.integers, text.handed_reals, text.handed_integers, *kept),
        *text.after,
        *store.save(*kept),
        "if status >= 0:",
        *indent([*text.finish, *store.idle(text), "active -= 1", "refill = True"]),
    ]
    return [
        f"for l in range({width}):",
        # What is due has a run: said again for the compiler, see `solver.codegen.savepoints`.
        f"    if {store.at['todo']} != 0 and {store.at['run']} >= 0:",
        *indent(after, 2),
    ]
