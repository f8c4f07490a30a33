"""What lines for a terminal are made of: pure, without colour codes, 80 columns unless a word is longer.

A line is a list of pieces, each a text and the name of a style; who prints it knows what styles look like.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "LABEL",
    "WIDTH",
    "Line",
    "Piece",
    "count",
    "field",
    "head",
    "plain",
    "printable",
    "short",
    "tail",
    "wrapped",
]

WIDTH = 80
LABEL = 12
_MOST_LINES = 6
#: Up to here a word stays whole: who looks for a test copies its name.
_WHOLE = 140


class Piece(NamedTuple):
    """A run of text in one style: ``""``, ``bad``, ``warn``, ``good``, ``strong`` or ``dim``."""

    text: str
    style: str = ""


Line = list[Piece]


def plain(lines: Iterable[Line]) -> str:
    """Return the lines as text."""
    return "\n".join("".join(piece.text for piece in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """Return ``text`` on one line and without control characters: tests choose names freely."""
    return "".join(char if char.isprintable() else "?" for char in text)


def count(number: int, noun: str) -> str:
    """Return ``"1 leak"`` or ``"3 leaks"``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def tail(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns; of a path or a qualified name the end says most."""
    shown = printable(text)
    return shown if len(shown) <= width else "..." + shown[len(shown) - width + 3 :]


def short(nodeid: str) -> str:
    """Return the name of a test without its file; parameters may contain ``::``."""
    path, bracket, parameters = nodeid.partition("[")
    name = path.rpartition("::")[2] + bracket + parameters
    return name or nodeid


def field(label: str, text: str, style: str = "") -> Iterator[Line]:
    """Yield a labelled text over as many lines as it takes."""
    for number, line in enumerate(_filled(text, WIDTH - LABEL) or [""]):
        head = f"  {label}".ljust(LABEL) if number == 0 else " " * LABEL
        yield [Piece(head, "dim"), Piece(line, style)]


def head(status: str, subject: str, rest: str, right: str) -> Line:
    """Return the first line of a block."""
    subject = tail(subject, WIDTH - 7 - len(rest) - 2 - len(right))
    left = f"{status:<7}{subject}{rest}"
    return [Piece(left, "strong"), Piece(right.rjust(WIDTH - len(left)), "dim")]


def wrapped(text: str, style: str = "") -> Iterator[Line]:
    """Yield a sentence over as many lines as it takes."""
    for line in _filled(text, WIDTH, "  "):
        yield [Piece(line, style)]


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    shown = printable(text)
    return textwrap.wrap(
        shown,
        width,
        subsequent_indent=indent,
        break_long_words=any(len(word) > _WHOLE for word in shown.split()),
        break_on_hyphens=False,
        max_lines=_MOST_LINES,
        placeholder=" ...",
    )
