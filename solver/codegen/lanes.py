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
from solver.codegen.text import indent
from solver.numerics.recipe import ARGUMENTS, Recipe

__all__ = ["block_source", "scalar_block_source", "tiled", "tiled_block_source"]

TILE_BYTES = 1 << 19
"""Preferred size of the tile that takes the save points of some runs on their way out; at most twice that. It
has to stay in a core's own cache."""

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
    in between: a line would go to memory and back several times. A tile stays in the cache, has each run in
    one piece, and is copied out in long pieces.
    """
    least = TILE_WIDTHS * width
    return [
        f"def block(lo, hi, {', '.join(ARGUMENTS)}):",
        f"    run_bytes = {recipe.n_states * recipe.dtype.itemsize}*ys.shape[0] + 1",
        f"    by_tile = hi - lo >= {least} and run_bytes*{least} <= {2 * TILE_BYTES}",
        f"    fitting = max({TILE_BYTES}//run_bytes, {least}) if by_tile else max(hi - lo, 1)",
        "    tiles = max((hi - lo + fitting - 1)//fitting, 1)",
        "    size = max((hi - lo + tiles - 1)//tiles, 1)",
        f"    tile = np.empty((size if by_tile else 0, ys.shape[0], {recipe.n_states}), real)",
        "    for b in range(lo, hi, size):",
        "        e = min(b + size, hi)",
        # One call for both: types that differ would have the lanes compiled twice.
        "        part = tile.transpose(1, 2, 0)[:, :, :e - b] if by_tile else ys[:, :, b:e]",
        f"        lanes(0, e - b, {', '.join(map(_cut, ARGUMENTS))})",
        "        if by_tile:",
        "            for m in range(ys.shape[0]):",
        f"                for i in range({recipe.n_states}):",
        "                    for j in range(e - b):",
        "                        ys[m, i, b + j] = tile[j, m, i]",
    ]


def _cut(name: str) -> str:
    """Return the text of an argument of a program for the runs b to e - 1."""
    if name in {"y0", "params", "span", "ts"}:
        return f"{name}[:, (b if {name}.shape[1] > 1 else 0):(e if {name}.shape[1] > 1 else 1)]"
    return {
        "ys": "part",
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
        *([f"turns = np.empty({width + 1}, np.int64)"] if text.point else []),
        "upcoming = lo",
        "active = 0",
        "refill = True",
        "while True:",
        "    if refill:",
        *indent(_refill(text, store, width), 2),
        "    if active == 0:",
        "        break",
        *indent(_attempts(text, store, width)),
        *indent(_points(text, store, width) if text.point else []),
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
    n_reals: int
    n_integers: int

    @classmethod
    def of(cls, text: Pieces, width: int) -> _Store:
        reals = [*text.read, *text.kept_reals, *text.reals, *text.handed_reals, *text.point_reals]
        integers = [*text.integers, *text.handed_integers, *text.kept_integers, "run"]
        at = {name: f"Z[{i * width} + l]" for i, name in enumerate(reals)}
        at |= {name: f"N[{i * width} + l]" for i, name in enumerate(integers)}
        return cls(at, len(reals), len(integers))

    def idle(self, text: Pieces) -> list[str]:
        """Return lines that take the run from a lane, in which no save point is due then."""
        return [f"{self.at['run']} = -1", *([f"{self.at['due']} = INF"] if text.point else [])]

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
        *(["waiting |= pending"] if text.point else []),
        *store.save(text.reals, text.integers, text.handed_reals, text.handed_integers),
    ]
    start = ["busy = 0", *(["waiting = 0"] if text.point else [])]
    return [*start, f"for l in range({width}):", *indent(attempt)]


def _points(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return lines for save points: the next one in every lane, vectorised, while any lane has passed one.

    ``turns`` lists the lanes that have, so that nobody looks at the others one by one.
    """
    evaluate = [
        *store.load(text.reals, text.handed_reals, text.kept_reals),
        *text.point,
        *store.save(text.point_reals),
    ]
    keep = [
        f"r = {store.at['run']}",
        *store.load(["t"], text.kept_reals, ["m"], text.point_reals),
        *text.keep,
        *store.save(text.kept_reals, ["m"]),
        "turns[left] = l",
        "left += 1 if due <= t else 0",
    ]
    return [
        "if waiting != 0:",
        "    n = 0",
        f"    for l in range({width}):",
        "        turns[n] = l",
        f"        n += 1 if {store.at['due']} <= {store.at['t']} else 0",
        "    while n > 0:",
        f"        for l in range({width}):",
        *indent(evaluate, 3),
        "        left = 0",
        "        for k in range(n):",
        "            l = turns[k]",
        # Always so; said for the compiler, see `solver.codegen.savepoints`.
        f"            if 0 <= l < {width} and {store.at['run']} >= 0:",
        *indent(keep, 4),
        "        n = left",
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
