"""The kernels that are looked after, and what is asked of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from solver.numerics.methods import METHODS
from solver.numerics.recipe import Event, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from solver.offline.compile import Compiled

__all__ = ["REGISTERS", "complaints", "matrix"]

REGISTERS = {"tsit5 f32 n=3": 56, "tsit5 f64 n=3": 90}
"""Most registers per thread, by kernel: with 56 a multiprocessor of 65,536 holds 36 warps, with 90 it holds
21."""


def complaints(result: Compiled, recipe: Recipe) -> list[str]:
    """Return what is wrong with a kernel, in words; empty when all is well."""
    found = {
        "bytes spilled": result.spill_stores + result.spill_loads,
        "calls": result.calls,
        "double-precision instructions in a float32 kernel": result.doubles * (recipe.dtype.itemsize == 4),
        "bytes of stack in straight-line code": result.stack * (not recipe.looped),
    }
    limit = REGISTERS.get(result.kernel)
    too_many = (
        [f"{result.registers} registers, at most {limit}"] if limit and result.registers > limit else []
    )
    return [f"{number} {what}" for what, number in found.items() if number] + too_many


def lorenz(t: float, y: Any, p: Any) -> Any:
    """Lorenz' system, 3 states, rho as parameter."""
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


def ring8(t: float, y: Any, p: Any) -> Any:
    """Lorenz' 1996 ring of 8 states."""
    return (
        (y[1] - y[6]) * y[7] - y[0] + p[0],
        (y[2] - y[7]) * y[0] - y[1] + p[0],
        (y[3] - y[0]) * y[1] - y[2] + p[0],
        (y[4] - y[1]) * y[2] - y[3] + p[0],
        (y[5] - y[2]) * y[3] - y[4] + p[0],
        (y[6] - y[3]) * y[4] - y[5] + p[0],
        (y[7] - y[4]) * y[5] - y[6] + p[0],
        (y[0] - y[5]) * y[6] - y[7] + p[0],
    )


def ring12(t: float, y: Any, p: Any) -> Any:
    """Lorenz' 1996 ring of 12 states."""
    return (
        (y[1] - y[10]) * y[11] - y[0] + p[0],
        (y[2] - y[11]) * y[0] - y[1] + p[0],
        (y[3] - y[0]) * y[1] - y[2] + p[0],
        (y[4] - y[1]) * y[2] - y[3] + p[0],
        (y[5] - y[2]) * y[3] - y[4] + p[0],
        (y[6] - y[3]) * y[4] - y[5] + p[0],
        (y[7] - y[4]) * y[5] - y[6] + p[0],
        (y[8] - y[5]) * y[6] - y[7] + p[0],
        (y[9] - y[6]) * y[7] - y[8] + p[0],
        (y[10] - y[7]) * y[8] - y[9] + p[0],
        (y[11] - y[8]) * y[9] - y[10] + p[0],
        (y[0] - y[9]) * y[10] - y[11] + p[0],
    )


def _first(t: float, y: Any, p: Any) -> Any:
    return y[0]


SYSTEMS = {3: lorenz, 8: ring8, 12: ring12}
"""By number of states: straight-line code, the most of it, and the looped form."""


def matrix() -> Iterator[tuple[str, Recipe]]:
    """Yield name and recipe of every kernel that is looked after: methods, precisions, sizes, and extras."""
    for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
        bits = f"f{8 * dtype.itemsize}"
        for method, scheme in METHODS.items():
            for n, rhs in SYSTEMS.items():
                yield f"{method} {bits} n={n}", Recipe(rhs, n, 1, method, dtype, fixed=not scheme.adaptive)
        yield f"tsit5 {bits} n=3 points", Recipe(lorenz, 3, 1, "tsit5", dtype, points=True)
        events = (Event(_first, terminal=1),)
        yield (
            f"tsit5 {bits} n=3 points event",
            Recipe(lorenz, 3, 1, "tsit5", dtype, points=True, events=events),
        )
