"""Many runs on one core, whatever they are like: the text of a block whose lanes take run after run.

A lane holds one run and takes the next one when its own ends, so that lanes are never idle for long. Runs
that lie side by side need not be alike; where they are, `solver.codegen.strips` is faster with save points.
"""

from __future__ import annotations

from solver.codegen.generate import pieces
from solver.codegen.lockstep import Lanes
from solver.codegen.text import indent
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
    text = pieces(recipe, "lanes")
    lanes = Lanes.of(text, width)
    tile = Tile(recipe, width) if text.tile else None
    body = [
        "wide_vectors()",
        *text.once,
        *lanes.made(recipe),
        *(tile.made() if tile else []),
        lanes.each,
        *indent(lanes.idle()),
        "upcoming = lo",
        "active = 0",
        "refill = True",
        "while True:",
        "    if refill:",
        *indent(_refill(lanes, tile), 2),
        *(["    if active == 0 and oldest >= hi:"] if tile else ["    if active == 0:"]),
        "        break",
        "    if active != 0:",
        *indent(lanes.attempts(), 2),
        *indent(lanes.points(), 2),
        *indent(lanes.rest([*(tile.ended() if tile else []), "refill = True"]), 2),
        *indent(tile.written() if tile else []),
        *(["fence()"] if tile else []),
    ]
    return [f"def block(lo, hi, {', '.join(ARGUMENTS)}):", *indent(body)]


def _refill(lanes: Lanes, tile: Tile | None) -> list[str]:
    """Return lines that give every free lane the next run."""
    room = " and upcoming < oldest + size" if tile else ""
    return [
        "refill = False",
        lanes.each,
        f"    if {lanes.at('status')} >= 0 and upcoming < hi{room}:",
        *indent(["r = upcoming", "upcoming += 1", "active += 1"], 2),
        *indent([*(tile.begun() if tile else []), *lanes.begun()], 2),
    ]
