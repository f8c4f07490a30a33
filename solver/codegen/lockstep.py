"""Lanes: where the numbers of runs lie that go on in lockstep, and the loops over them that become SIMD.

Every lane has its own time, step size and verdict. LLVM vectorises the loop over lanes only when all of these
hold (each was found by measurement): everything is inlined; the width is at least two registers; nothing in
the loop calls a library; and all lane variables live in one flat buffer per type with constant offsets,
because among dozens of separate arrays its alias checks give up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from solver.codegen.savepoints import PACKED
from solver.codegen.text import indent, neighbours
from solver.numerics.status import Status

if TYPE_CHECKING:
    from solver.codegen.generate import Pieces
    from solver.numerics.recipe import Recipe

__all__ = ["Lanes"]


@dataclass(frozen=True)
class Lanes:
    """Where lanes keep the numbers of their runs: by name, one of three buffers and lane l's place.

    ``Z`` has real numbers, ``C`` counters, ``N`` the indexes that no attempt reads. Counters of 32 bits would
    be less to load and store, but with Python 3.12 LLVM then makes no vectors of the loop.
    """

    text: Pieces
    width: int
    place: dict[str, tuple[str, str]]
    size: dict[str, int]

    @classmethod
    def of(cls, text: Pieces, width: int) -> Lanes:
        """Give all numbers of the pieces a place, for ``width`` lanes."""
        buffers = {
            "Z": [*text.read, *text.kept_reals, *text.reals, *text.handed_reals],
            "C": [*text.counters, *text.handed_counters, *text.kept_counters],
            "N": [*text.kept_indexes, "run", *(["home"] if text.tile else [])],
        }
        place = {
            name: (buffer, f"{i * width} + l")
            for buffer, names in buffers.items()
            for i, name in enumerate(names)
        }
        return cls(text, width, place, {buffer: width * len(names) for buffer, names in buffers.items()})

    @property
    def each(self) -> str:
        """The head of a loop over all lanes."""
        return f"for l in range({self.width}):"

    def made(self, recipe: Recipe) -> list[str]:
        """Return lines that make the buffers."""
        return neighbours(
            [
                ("Z", self.size["Z"], "real", recipe.dtype.itemsize),
                ("C", self.size["C"], "whole", 8),
                ("N", self.size["N"], "np.int64", 8),
            ]
        )

    def attempts(self) -> list[str]:
        """Return the loop that is vectorised: one attempt in every lane."""
        text = self.text
        attempt = [
            *self._load(text.read, text.kept_reals, text.reals, text.counters),
            *text.step,
            # A lane without a run goes on stepping over stale numbers; nobody looks at it.
            f"todo = todo if {self.at('status')} < 0 else 0",
            "busy |= todo",
            *self._save(text.reals, text.counters, text.handed_reals, text.handed_counters),
        ]
        return ["busy = 0", self.each, *indent(attempt)]

    def points(self) -> list[str]:
        """Return lines for the save points of those lanes that have passed some."""
        text = self.text
        if not text.together:
            return []
        changed = [*text.kept_reals, *text.kept_indexes]
        return [
            f"for l in range(0, {self.width}, {PACKED}):",
            *indent(
                [
                    *self._load_packed(["due", "t"]),
                    "bits = not_after(due, t)",
                    "if bits != 0:",
                    *indent(self._load_packed(text.reals, text.handed_reals, changed)),
                    *indent(text.together),
                    *indent(self._save_packed(changed)),
                ]
            ),
        ]

    def rest(self, ended: list[str]) -> list[str]:
        """Return lines that do, lane by lane, what is due after an attempt; ``ended``: when a run is over."""
        text = self.text
        kept = [text.kept_reals, text.kept_counters, text.kept_indexes]
        after = [
            f"r = {self.at('run')}",
            *([f"home = {self.at('home')}"] if text.tile else []),
            *self._load(text.read, text.reals, text.counters, text.handed_reals, text.handed_counters, *kept),
            *text.after,
            *self._save(*kept),
            "if status >= 0:",
            *indent([*text.finish, *self.idle(), "active -= 1", *ended]),
        ]
        return [
            "if busy != 0:",
            f"    {self.each}",
            # What is due has a run: said again for the compiler, see `solver.codegen.savepoints`.
            f"        if {self.at('todo')} != 0 and {self.at('run')} >= 0:",
            *indent(after, 3),
        ]

    def begun(self) -> list[str]:
        """Return lines that begin run r in lane l."""
        text = self.text
        return [
            f"{self.at('run')} = r",
            *([f"{self.at('home')} = home"] if text.tile else []),
            *text.load,
            *text.start,
            *self._save(text.read, text.reals, text.counters),
            *self._save(text.kept_reals, text.kept_counters, text.kept_indexes),
        ]

    def idle(self) -> list[str]:
        """Return lines that say that a lane has no run, and that no save point is due in it."""
        nowhere = [f"{self.at('place')} = -tile.shape[1]"] if "place" in self.place else []
        return [
            f"{self.at('status')} = whole({Status.OK:d})",
            *([f"{self.at('due')} = INF", *nowhere] if self.text.together else []),
        ]

    def at(self, name: str) -> str:
        """Return the text of lane l's number."""
        buffer, place = self.place[name]
        return f"{buffer}[{place}]"

    def _load(self, *groups: list[str]) -> list[str]:
        return [f"{name} = {self.at(name)}" for group in groups for name in group]

    def _save(self, *groups: list[str]) -> list[str]:
        return [f"{self.at(name)} = {name}" for group in groups for name in group]

    def _load_packed(self, *groups: list[str]) -> list[str]:
        """Return lines that load the numbers of the lanes from l on, as one vector."""
        return [f"{name} = packed({self._vector(name)})" for group in groups for name in group]

    def _save_packed(self, names: list[str]) -> list[str]:
        """Return lines that save such vectors."""
        return [f"unpack({self._vector(name)}, {name})" for name in names]

    def _vector(self, name: str) -> str:
        buffer, place = self.place[name]
        return f"{buffer}, ({place},)"
