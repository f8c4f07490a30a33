"""The table of compiled kernels in the docs, written by ``python -m solver.offline --write PAGE``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from solver.offline.compile import Compiled

__all__ = ["put", "rows"]

BEGIN, END = "<!-- kernels -->\n", "<!-- end of kernels -->\n"
HEAD = """
| kernel | registers | stack, B | spilled, B | f64 instructions | calls | machine code, KiB |
|---|---|---|---|---|---|---|
"""


def rows(results: Iterable[Compiled]) -> list[str]:
    """Return one row per kernel: least and most over the architectures."""
    made = []
    for name, group in itertools.groupby(results, key=lambda result: result.kernel):
        kernels = list(group)
        cells = [
            _span(k.registers for k in kernels),
            _span(k.stack for k in kernels),
            _span(k.spill_stores + k.spill_loads for k in kernels),
            _span(k.doubles for k in kernels),
            _span(k.calls for k in kernels),
            _span(round(k.cubin / 1024) for k in kernels),
        ]
        made.append(f"| {name} | {' | '.join(cells)} |\n")
    return made


def put(results: Iterable[Compiled], page: Path) -> None:
    """Replace the table between the two marks of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    table = HEAD + "".join(rows(results)) + "\n"
    page.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
