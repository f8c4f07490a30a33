"""The state of a pool as lines for a terminal: who has what, who waits, and why. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.people import DEAD_OWNER
from pytest_gpuguard.budget.wording import amount_text, amounts_text
from pytest_gpuguard.report.lines import printable
from pytest_gpuguard.report.text import Piece
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.cli.state import Claimant, Queued, Resource, State
    from pytest_gpuguard.report.text import Line

__all__ = ["cut_to", "state_lines"]

_BAR, _SHORTEST_BAR, _LONGEST_NAME, _FIGURES = 20, 6, 26, 44
_PID, _AGE, _FRONT = 11, 10, 12
_INDENT = " " * 6
_NEARLY_FULL = 0.9


def state_lines(state: State, width: int = 80, *, unicode: bool = False) -> list[Line]:
    """Return what people want to see of ``state``.

    Parameters
    ----------
    width
        Columns there are.
    unicode
        Whether bars may be drawn with block characters.
    """
    figures = f"{state.participants} in it, {len(state.holders)} holding, {len(state.waiters)} waiting"
    lines: list[Line] = [
        [Piece(f"pool {state.pool}", "strong"), Piece(f"  {figures}")],
        [Piece(state.folder, "dim")],
        [],
        *_balances(state.resources, width, "█░" if unicode else "#."),
    ]
    if state.holders:
        lines += [[], [Piece("held by", "strong")]]
        lines += [line for holder in state.holders for line in _holder(holder, width)]
    if state.waiters:
        lines += [[], [Piece("waiting, in this order", "strong")]]
        lines += [line for waiter in state.waiters for line in _waiter(waiter, width)]
    if state.differences or state.notes:
        lines.append([])
        for text in (*state.differences, *state.notes):
            lines += _paragraph(f"note: {text}", "warn", width, "")
    return lines


def cut_to(lines: list[Line], height: int) -> list[Line]:
    """Return at most ``height`` lines, the last of which says how many were left out."""
    if len(lines) <= height:
        return lines
    left = len(lines) - height + 1
    return [*lines[: height - 1], [Piece(f"... {left} more lines", "dim")]]


def _balances(resources: list[Resource], width: int, blocks: str) -> Iterator[Line]:
    # Names with uuids are long; of the bar a part is enough, of the figures not.
    column = min(max((len(resource.name) for resource in resources), default=0), _LONGEST_NAME)
    bar = min(_BAR, max(_SHORTEST_BAR, width - column - _FIGURES))
    for resource in resources:
        share = min(1.0, resource.held / resource.limit) if resource.limit else 1.0
        # Whoever holds something is seen, and what is not full does not look it.
        filled = max(int(share * bar), 1 if resource.held else 0)
        style = "bad" if resource.free <= 0 else "warn" if share >= _NEARLY_FULL else "good"
        held, limit, rest = (
            amount_text(resource.name, amount)
            for amount in (resource.held, resource.limit, abs(resource.free))
        )
        yield [
            Piece(f"{_clipped(resource.name, column):<{column}}  "),
            Piece(blocks[0] * filled, style),
            Piece(blocks[1] * (bar - filled), "dim"),
            Piece(f"  {held} of {limit}, {rest} {'over' if resource.free < 0 else 'free'}"),
        ]


def _holder(holder: Claimant, width: int) -> Iterator[Line]:
    yield _head("", holder, width)
    yield [Piece(_INDENT + amounts_text(holder.amounts), "strong")]
    if remark := _remark(holder):
        yield from _paragraph(remark, "warn", width, _INDENT)


def _waiter(waiter: Queued, width: int) -> Iterator[Line]:
    yield _head(str(waiter.place), waiter, width)
    yield [Piece(_INDENT + "wants "), Piece(amounts_text(waiter.amounts), "strong")]
    yield from _paragraph(waiter.reason, "", width, _INDENT)
    if remark := _remark(waiter):
        yield from _paragraph(remark, "warn", width, _INDENT)


def _head(place: str, claimant: Claimant, width: int) -> Line:
    who = f"pid {claimant.pid}" if claimant.pid else f"slot {claimant.slot}"
    age = "" if claimant.seconds is None else format_seconds(claimant.seconds)
    front = f"{place:>4}  {who:<{_PID}} {age:>{_AGE}}  "
    return [Piece(front), Piece(_clipped(printable(claimant.label), width - len(front)))]


def _clipped(text: str, width: int) -> str:
    """Keep both ends: the worker in front, and the test's own name behind."""
    if len(text) <= width:
        return text
    front = min(_FRONT, width // 2)
    return f"{text[:front]}...{text[len(text) - (width - front - 3) :]}"


def _remark(claimant: Claimant) -> str:
    if claimant.state == "stopped":
        return f"stopped: let it go on (kill -CONT {claimant.pid}), or end it"
    if claimant.state == DEAD_OWNER:
        pids = " ".join(map(str, claimant.kept_by))
        return f"{claimant.state}: " + (f"end it (kill {pids})" if pids else "it cannot be seen from here")
    return "" if claimant.state in {"running", "unknown"} else claimant.state


def _paragraph(text: str, style: str, width: int, indent: str) -> Iterator[Line]:
    for line in textwrap.wrap(
        printable(text), max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False
    ):
        yield [Piece(indent + line, style)]
