"""Small helpers to write program text: indentation, weighted sums, and vectors that are names or arrays."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LINE_BYTES", "Vectors", "indent", "lined_up", "neighbours", "scaled"]

LINE_BYTES = 64
"""Bytes that memory and the caches exchange as one."""


def indent(lines: Iterable[str], levels: int = 1) -> list[str]:
    """Return ``lines`` moved to the right by four blanks per level."""
    return textwrap.indent("\n".join(lines), "    " * levels).split("\n") if lines else []


def neighbours(arrays: Iterable[tuple[str, int, str, int]]) -> list[str]:
    """Return lines that make arrays of zeros in one piece of memory; each begins where a cache line does.

    An array is a name, a number of items, the text of their type and their size in bytes. Apart from each
    other two arrays may lie so that their lines are in each other's way, in a cache that finds a line by few
    bits of its address: in some processes all took a tenth to a third longer.
    """
    line, end, views = LINE_BYTES, 0, []
    for name, size, kind, itemsize in arrays:
        views.append(f"{name} = memory[{end}:{end + size * itemsize}].view({kind})")
        end += -(-size * itemsize // line) * line
    return [
        f"memory = np.zeros({end + line}, np.int8)",
        f"memory = memory[-memory.ctypes.data % {line}:]",
        *views,
    ]


def lined_up(name: str, rows: str, width: int, itemsize: int) -> list[str]:
    """Return lines that make an array of real numbers whose first row begins where a cache line does."""
    return [
        f"flat = np.empty(({rows})*{width} + {LINE_BYTES // itemsize}, real)",
        f"skip = -flat.ctypes.data % {LINE_BYTES} // {itemsize}",
        f"{name} = flat[skip:skip + ({rows})*{width}].reshape({rows}, {width})",
    ]


def scaled(weights: Iterable[float], names: Iterable[str]) -> tuple[float, str]:
    """Return a number and the text of a sum, which multiplied give ``sum(weight * name)``, left to right.

    The largest weight is 1 in it: where a sum is multiplied by something anyway, that is one product less for
    each component. Nothing in it is larger than what is summed.
    """
    terms = [(w, name) for w, name in zip(weights, names, strict=False) if w != 0.0]
    scale = max((w for w, _ in terms), key=abs)
    return scale, " + ".join(name if w == scale else f"{w / scale!r}*{name}" for w, name in terms)


@dataclass(frozen=True)
class Vectors:
    """How a state vector appears in the text: ``s0, s1`` for straight-line code, ``s[0], s[1]`` for loops.

    In templates ``@`` stands for the component: ``"s@ = v@"``.
    """

    n: int
    looped: bool

    def each(self, *templates: str) -> list[str]:
        """Return the templates for every component: n lines each, or one loop."""
        if self.looped:
            return [f"for i in range({self.n}):", *indent(line.replace("@", "[i]") for line in templates)]
        return [line.replace("@", str(i)) for i in range(self.n) for line in templates]

    def each_at(self, *templates: str) -> list[str]:
        """Return as `each`, where ``#`` is the component's index."""
        if self.looped:
            return self.each(*(line.replace("#", "i") for line in templates))
        return [line.replace("@", str(i)).replace("#", str(i)) for i in range(self.n) for line in templates]

    def items(self, name: str) -> list[str]:
        """Return the names of all components."""
        return [f"{name}[{i}]" if self.looped else f"{name}{i}" for i in range(self.n)]

    def tuple(self, name: str) -> str:
        """Return the vector as a tuple display."""
        return f"({', '.join(self.items(name))},)"

    def targets(self, name: str) -> str:
        """Return the vector as the left side of an unpacking."""
        return f"{', '.join(self.items(name))},"

    def passed(self, *names: str) -> list[str]:
        """Return the vectors as arguments: one array each, or all their components."""
        return list(names) if self.looped else [item for name in names for item in self.items(name)]
