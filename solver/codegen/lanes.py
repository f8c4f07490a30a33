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
from solver.codegen.text import indent, neighbours
from solver.codegen.tiles import Tile
from solver.numerics.recipe import ARGUMENTS, Recipe

__all__ = ["block_source", "scalar_block_source"]


def scalar_block_source() -> list[str]:
    """Return ``block(lo, hi, ...)`` that makes the runs lo to hi one after the other."""
    arguments = ", ".join(ARGUMENTS)
    return [
        f"def block(lo, hi, {arguments}):",
        "    for r in range(lo, hi):",
        f"        one(r, {arguments})",
    ]


def block_source(recipe: Recipe, width: int) -> list[str]:
    """Return ``block(lo, hi, ...)`` that makes the runs lo to hi in ``width`` lanes."""
    text = pieces(recipe, lanes=True)
    store = _Store.of(text, width)
    tile = Tile(recipe, width) if text.tile else None
    body = [
        "wide_vectors()",
        *text.once,
        *neighbours(
            [
                ("Z", store.n_reals * width, "real", recipe.dtype.itemsize),
                ("N", store.n_integers * width, "np.int64", 8),
            ]
        ),
        *(tile.made() if tile else []),
        f"for l in range({width}):",
        *indent(store.idle(text)),
        "upcoming = lo",
        "active = 0",
        "refill = True",
        "while True:",
        "    if refill:",
        *indent(_refill(text, store, width, tile), 2),
        *(["    if active == 0 and oldest >= hi:"] if tile else ["    if active == 0:"]),
        "        break",
        "    if active != 0:",
        *indent(_attempts(text, store, width), 2),
        *indent(_points(text, store, width) if text.together else [], 2),
        "        if busy != 0:",
        *indent(_rest(text, store, width, tile), 3),
        *indent(tile.written() if tile else []),
        *(["fence()"] if tile else []),
    ]
    return [f"def block(lo, hi, {', '.join(ARGUMENTS)}):", *indent(body)]


@dataclass(frozen=True)
class _Store:
    """Where lanes keep the numbers of their runs: by name, one of two buffers and lane l's place in it."""

    place: dict[str, tuple[str, str]]
    n_reals: int
    n_integers: int

    @classmethod
    def of(cls, text: Pieces, width: int) -> _Store:
        reals = [*text.read, *text.kept_reals, *text.reals, *text.handed_reals]
        integers = [*text.integers, *text.handed_integers, *text.kept_integers, "run"]
        integers += ["home"] if text.tile else []
        place = {name: ("Z", f"{i * width} + l") for i, name in enumerate(reals)}
        place |= {name: ("N", f"{i * width} + l") for i, name in enumerate(integers)}
        return cls(place, len(reals), len(integers))

    def at(self, name: str) -> str:
        """Return the text of lane l's number."""
        buffer, place = self.place[name]
        return f"{buffer}[{place}]"

    def idle(self, text: Pieces) -> list[str]:
        """Return lines that take the run from a lane, in which no save point is due then."""
        return [
            f"{self.at('run')} = -1",
            *([f"{self.at('due')} = INF", f"{self.at('place')} = -tile.shape[1]"] if text.together else []),
        ]

    def load(self, *groups: list[str]) -> list[str]:
        return [f"{name} = {self.at(name)}" for group in groups for name in group]

    def save(self, *groups: list[str]) -> list[str]:
        return [f"{self.at(name)} = {name}" for group in groups for name in group]

    def load_packed(self, *groups: list[str]) -> list[str]:
        """Return lines that load the numbers of the lanes from l on, as one vector."""
        return [f"{name} = packed({self._vector(name)})" for group in groups for name in group]

    def save_packed(self, names: list[str]) -> list[str]:
        """Return lines that save such vectors."""
        return [f"unpack({self._vector(name)}, {name})" for name in names]

    def _vector(self, name: str) -> str:
        buffer, place = self.place[name]
        return f"{buffer}, ({place},)"


def _refill(text: Pieces, store: _Store, width: int, tile: Tile | None) -> list[str]:
    """Return lines that give every free lane the next run."""
    begin = [
        "r = upcoming",
        "upcoming += 1",
        "active += 1",
        f"{store.at('run')} = r",
        *([*tile.begun(), f"{store.at('home')} = home"] if tile else []),
        *text.load,
        *text.start,
        *store.save(text.read, text.reals, text.integers, text.kept_reals, text.kept_integers),
    ]
    room = " and upcoming < oldest + size" if tile else ""
    return [
        "refill = False",
        f"for l in range({width}):",
        f"    if {store.at('run')} < 0 and upcoming < hi{room}:",
        *indent(begin, 2),
    ]


def _attempts(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return the loop that is vectorised: one attempt in every lane."""
    attempt = [
        *store.load(text.read, text.kept_reals, text.reals, text.integers),
        *text.step,
        # A lane without a run goes on stepping over stale numbers; nobody looks at it.
        f"todo = todo if {store.at('run')} >= 0 else 0",
        "busy |= todo",
        *store.save(text.reals, text.integers, text.handed_reals, text.handed_integers),
    ]
    return ["busy = 0", f"for l in range({width}):", *indent(attempt)]


def _points(text: Pieces, store: _Store, width: int) -> list[str]:
    """Return lines for the save points of those lanes that have passed some."""
    return [
        f"for l in range(0, {width}, {PACKED}):",
        *indent(
            [
                *store.load_packed(["due", "t"]),
                "bits = not_after(due, t)",
                "if bits != 0:",
                *indent(store.load_packed(text.reals, text.handed_reals, ["later", "at", "place"])),
                *indent(text.together),
                *indent(store.save_packed(["due", "later", "at", "place"])),
            ]
        ),
    ]


def _rest(text: Pieces, store: _Store, width: int, tile: Tile | None) -> list[str]:
    """Return lines that do, lane by lane, what is due after an attempt."""
    kept = [text.kept_reals, text.kept_integers]
    after = [
        f"r = {store.at('run')}",
        *([f"home = {store.at('home')}"] if tile else []),
        *store.load(text.read, text.reals, text.integers, text.handed_reals, text.handed_integers, *kept),
        *text.after,
        *store.save(*kept),
        "if status >= 0:",
        *indent(
            [
                *text.finish,
                *(tile.ended() if tile else []),
                *store.idle(text),
                "active -= 1",
                "refill = True",
            ]
        ),
    ]
    return [
        f"for l in range({width}):",
        # What is due has a run: said again for the compiler, see `solver.codegen.savepoints`.
        f"    if {store.at('todo')} != 0 and {store.at('run')} >= 0:",
        *indent(after, 2),
    ]
