"""Who waits for whom, as boxes one below the other with arrows beside them: pure SVG, and as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.report.levels import memory_text
from pytest_gpuguard.report.lines import count, printable, short, tail
from pytest_gpuguard.report.model import Edge
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuguard.report.model import RunReport, Stall, Wait

__all__ = ["Graph", "graphs"]

_WIDTH, _BOX, _GAP, _SIDE = 360, 44, 14, 96
_MOST = 12
_WORDS, _MORE_WORDS = 36, 46


class Graph(NamedTuple):
    """A moment at which somebody waited in vain: its title, the picture, and the same in sentences."""

    title: str
    picture: Markup
    sentences: list[str]


def graphs(report: RunReport) -> list[Graph]:
    """Return a graph for each lease that was not had, and for each stall that waited for somebody."""
    found = [_of_wait(wait) for wait in report.waits if wait.end in {"timeout", "deadlock"} and _edges(wait)]
    found += [_of_stall(stall) for stall in report.stalls if stall.edges]
    return found[:_MOST]


def _edges(wait: Wait) -> list[Edge]:
    if wait.edges:
        return wait.edges
    resource, waiter = next(iter(wait.amounts), ""), f"{wait.worker} {wait.nodeid}"
    who = [blocker.who for blocker in wait.blockers] or wait.blocked_by
    ahead = [Edge(waiter, other, resource, wait.amounts.get(resource, 0)) for other in who]
    # Who is part of a circle waits for what we hold.
    back = [
        Edge(blocker.who, waiter, resource, blocker.wants[resource])
        for blocker in wait.blockers
        if wait.end == "deadlock" and resource in blocker.wants
    ]
    return ahead + back


def _of_wait(wait: Wait) -> Graph:
    words = {
        blocker.who: f"holds {memory_text(blocker.holds)}"
        if blocker.holds
        else f"asked for {memory_text(blocker.wants)} before"
        for blocker in wait.blockers
    }
    end = (
        "was refused: it would never have been served"
        if wait.end == "deadlock"
        else f"gave up after {format_seconds(wait.ended - wait.began)}"
    )
    title = f"{short(wait.nodeid)} {end}"
    return _graph(title, _edges(wait), words)


def _of_stall(stall: Stall) -> Graph:
    title = f"{short(stall.nodeid)} made no progress for {format_seconds(stall.idle_s)}"
    words = {state.worker: "; ".join(state.leases) for state in stall.states if state.leases}
    return _graph(title, stall.edges, words)


def _graph(title: str, edges: Sequence[Edge], words: dict[str, str]) -> Graph:
    names = list(dict.fromkeys(name for edge in edges for name in (edge.waiter, edge.holder)))[:_MOST]
    shown = [edge for edge in edges if edge.waiter in names and edge.holder in names]
    sentences = [
        f"{printable(edge.waiter)} waits for "
        f"{f'{amount_text(edge.resource, edge.amount)} ' if edge.amount else ''}{printable(edge.resource)} "
        f"behind {printable(edge.holder)}"
        for edge in shown
    ]
    if len(edges) > len(shown):
        sentences.append(f"and {count(len(edges) - len(shown), 'more edge')}")
    return Graph(printable(title), _picture(names, shown, words), sentences)


def _picture(names: Sequence[str], edges: Sequence[Edge], words: dict[str, str]) -> Markup:
    height = len(names) * (_BOX + _GAP) + 4
    body = "".join([*_boxes(names, edges, words), *_arrows(names, edges)])
    return Markup(  # noqa: S704 - every name in it went through escape
        f'<svg xmlns="http://www.w3.org/2000/svg" class="waitfor" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="who waits for whom" '
        'font-family="system-ui, sans-serif" font-size="12"><defs><marker id="tip" viewBox="0 0 10 10" '
        'refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
        f'<path d="M0 0L10 5L0 10z" fill="#d55e00"/></marker></defs>{body}</svg>'
    )


def _cut(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _MORE_WORDS else f"{shown[: _MORE_WORDS - 3]}..."


def _boxes(names: Sequence[str], edges: Sequence[Edge], words: dict[str, str]) -> Iterator[str]:
    for number, name in enumerate(names):
        y = 2 + number * (_BOX + _GAP)
        wants = [edge for edge in edges if edge.waiter == name]
        second = words.get(name, "")
        if wants:
            amount = f"{amount_text(wants[0].resource, wants[0].amount)} " if wants[0].amount else ""
            second += f"{'; ' if second else ''}wants {amount}{wants[0].resource}"
        dash = ' stroke-dasharray="5 3"' if wants else ""
        first, then = escape(tail(name, _WORDS)), escape(_cut(second))
        yield (
            f'<rect x="1" y="{y}" width="{_WIDTH - _SIDE}" height="{_BOX}" rx="4" fill="none" '
            f'stroke="currentColor"{dash}/>'
            f'<text x="9" y="{y + 18}" fill="currentColor" font-weight="600">{first}</text>'
            f'<text x="9" y="{y + 35}" font-size="11" fill="currentColor">{then}</text>'
            f"<title>{escape(printable(name))}</title>"
        )


def _arrows(names: Sequence[str], edges: Sequence[Edge]) -> Iterator[str]:
    right = _WIDTH - _SIDE + 1
    for edge in edges:
        first, last = names.index(edge.waiter), names.index(edge.holder)
        start, end = (2 + number * (_BOX + _GAP) + _BOX / 2 for number in (first, last))
        bulge = right + min(_SIDE - 10, 34 + 20 * abs(last - first))
        yield (
            f'<path d="M{right} {start - 5}C{bulge} {start - 5} {bulge} {end + 5} {right} {end + 5}" '
            'fill="none" stroke="#d55e00" stroke-width="2" marker-end="url(#tip)"/>'
        )
