"""Workers x tests over time as SVG: pure, and readable without style sheet or script.

Horizontal places are percentages, so that the picture takes any width without stretching its words. Colours
are attributes, from a palette that colour-blind people can tell apart; waits are hatched, leaks are dots,
dead workers end with a cross, so that nothing is said by colour alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.report.levels import in_bytes, peaks, total
from pytest_gpuguard.report.lines import printable, short
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_gpuguard.report.model import RunReport, TestSpan, Wait, Worker

__all__ = ["COLOURS", "timeline"]

COLOURS = {
    "passed": "#0072b2",
    "failed": "#d55e00",
    "skipped": "#999999",
    "unfinished": "#e69f00",
    "wait": "#e69f00",
    "held": "#56b4e9",
    "limit": "#cc79a7",
    "leak": "#cc79a7",
}
_FINE = 3000  # so many bars are drawn one by one, each with its words
_LANE, _AREA, _BAR = 58, 26, 14
_UNITS = 10_000  # places in a path across the whole width
_TICKS = (1, 2, 5)


class _Scale(NamedTuple):
    whole: float

    def percent(self, at: float) -> float:
        return max(0.0, min(100.0, 100 * at / self.whole))

    def unit(self, at: float) -> int:
        return round(_UNITS * self.percent(at) / 100)


def timeline(report: RunReport) -> Markup:
    """Return the picture; empty when no test ran."""
    spans = [*report.tests, *report.unfinished]
    if not spans:
        return Markup()
    scale = _Scale(max(report.run.duration_s, *(span.stop for span in spans), 1e-3))
    numbers = {id(span): number for number, span in enumerate(report.tests)}
    alone = _alone(spans)
    parts: list[str] = []
    y = 22
    for peak in peaks(report.levels):
        if _drawn(report, peak.resource):
            parts.append(_sum(report, peak.resource, peak.amount, scale, y))
            y += _LANE + 14
    by_worker: dict[str, list[TestSpan]] = defaultdict(list)
    for span in spans:
        by_worker[span.worker].append(span)
    workers = {worker.id: worker for worker in report.workers}
    for name in sorted(by_worker, key=lambda name: (len(name), name)):
        parts.append(_lane(report, name, workers.get(name), by_worker[name], numbers, alone, scale, y))
        y += _LANE + (_AREA if _held_by(report, name) else 0)
    label = f"{len(report.tests)} tests on {len(by_worker)} workers in {format_seconds(scale.whole)}"
    return Markup(  # noqa: S704 - every name in it went through escape
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" width="100%" height="{y + 6}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" aria-label="{escape(label)}">'
        f"{_HATCH}{_axis(scale, y)}{''.join(parts)}</svg>"
    )


_HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    f'patternTransform="rotate(45)"><rect width="6" height="6" fill="{COLOURS["wait"]}" opacity=".25"/>'
    f'<line x1="0" y1="0" x2="0" y2="6" stroke="{COLOURS["wait"]}" stroke-width="3"/></pattern>'
    # Failed and passed are one grey to who sees no colours, and on paper.
    '<pattern id="failed" width="5" height="5" patternUnits="userSpaceOnUse">'
    f'<rect width="5" height="5" fill="{COLOURS["failed"]}"/>'
    '<line x1="0" y1="0" x2="0" y2="5" stroke="#fff" stroke-width="2"/></pattern></defs>'
)


def _axis(scale: _Scale, height: int) -> str:
    step = _step(scale.whole)
    parts = []
    for number in range(int(scale.whole / step) + 1):
        x = scale.percent(number * step)
        # The words of a last one would not fit into the picture.
        words = f"<text x='{x:.2f}%' y='12' dx='3'>{number * step:g} s</text>" if x < 93 else ""
        parts.append(f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{height}"/>{words}')
    return (
        '<g stroke="currentColor" stroke-opacity=".15" fill="currentColor" fill-opacity=".7">'
        f"{''.join(parts)}</g>".replace("<text ", '<text stroke="none" ')
    )


def _step(whole: float) -> float:
    """Return the distance of marks: one, two or five times a power of ten, with at most six of them."""
    power = 10.0**-4
    while True:
        for factor in _TICKS:
            if whole / (factor * power) <= 6:
                return factor * power
        power *= 10


def _sum(report: RunReport, resource: str, most: int, scale: _Scale, y: int) -> str:
    limit = report.limits[resource]
    top = max(limit, most)
    area = _steps(total(report.levels, resource), top, scale, _LANE)
    line = y + 16 + _LANE * (1 - limit / top)
    said = f"{printable(resource)}: peak {amount_text(resource, most)} of {amount_text(resource, limit)}"
    return (
        f'<text x="2" y="{y + 10}" fill="currentColor" font-weight="600">{escape(said)}</text>'
        f"{_stretched(y + 16, _LANE - 8, _LANE, area, COLOURS['held'])}"
        f'<line x1="0" x2="100%" y1="{line:.1f}" y2="{line:.1f}" stroke="{COLOURS["limit"]}" '
        f'stroke-width="2" stroke-dasharray="6 4"><title>the budget: {amount_text(resource, limit)}'
        "</title></line>"
    )


def _stretched(y: float, height: int, units: int, path: str, fill: str) -> str:
    """Return a path in a frame of its own, which takes the whole width."""
    return (
        f'<svg y="{y}" width="100%" height="{height}" viewBox="0 0 {_UNITS} {units}" '
        f'preserveAspectRatio="none"><path d="{path}" fill="{fill}" fill-opacity=".75"/></svg>'
    )


def _steps(series: Iterable[tuple[float, int]], top: int, scale: _Scale, height: int) -> str:
    parts, x = [f"M0 {height}"], 0
    for at, amount in series:
        x = scale.unit(at)
        parts.append(f"H{x}V{height * (1 - amount / max(top, 1)):.1f}")
    return f"{''.join(parts)}H{_UNITS}V{height}Z" if x < _UNITS else f"{''.join(parts)}V{height}Z"


def _held_by(report: RunReport, worker: str) -> bool:
    return any(series.worker == worker and _drawn(report, series.resource) for series in report.levels)


def _drawn(report: RunReport, resource: str) -> bool:
    return in_bytes(resource) and report.limits.get(resource, 0) > 0


def _lane(
    report: RunReport,
    name: str,
    worker: Worker | None,
    spans: Sequence[TestSpan],
    numbers: Mapping[int, int],
    alone: frozenset[int],
    scale: _Scale,
    y: int,
) -> str:
    ended = worker.end if worker is not None and worker.end != "ok" else ""
    said = f"{name}, {len(spans)} tests" + (f", {ended}" if ended else "")
    parts = [f'<text x="2" y="{y + 12}" fill="currentColor">{escape(printable(said))}</text>']
    waits = [wait for wait in report.waits if wait.worker == name]
    parts += _waits(waits, scale, y + 18)
    parts += _bars(spans, numbers, alone, scale, y + 18)
    if ended in {"crashed", "killed"} and worker is not None and worker.finished is not None:
        x = scale.percent(worker.finished)
        parts.append(
            f'<text x="{x:.2f}%" y="{y + 31}" font-size="18" font-weight="700" text-anchor="middle" '
            f'fill="{COLOURS["failed"]}">✕<title>{escape(printable(said))}</title></text>'
        )
    for series in report.levels:
        if series.worker == name and _drawn(report, series.resource):
            steps = zip(series.at, series.amount, strict=True)
            area = _steps(steps, max(report.limits[series.resource], *series.amount), scale, _AREA)
            parts.append(_stretched(y + _LANE - 20, _AREA, _AREA, area, COLOURS["held"]))
            break
    return "".join(parts)


def _waits(waits: Iterable[Wait], scale: _Scale, y: int) -> Iterator[str]:
    for wait in waits:
        x, end = scale.percent(wait.began), scale.percent(wait.ended)
        said = f"{short(wait.nodeid)} waited {format_seconds(wait.ended - wait.began)}: {wait.end}"
        yield (
            f'<rect x="{x:.3f}%" y="{y}" width="{max(end - x, 0.2):.3f}%" height="{_BAR}" '
            f'fill="url(#hatch)"><title>{escape(printable(said))}</title></rect>'
        )


def _bars(
    spans: Iterable[TestSpan], numbers: Mapping[int, int], alone: frozenset[int], scale: _Scale, y: int
) -> Iterator[str]:
    merged: dict[str, list[tuple[int, int]]] = defaultdict(list)
    marks: list[str] = []
    for span in spans:
        x, end = scale.percent(span.start), scale.percent(span.stop)
        if id(span) not in alone:
            _merge(merged[span.outcome], scale.unit(span.start), scale.unit(span.stop))
            continue
        yield _bar(span, numbers.get(id(span)), x, max(end - x, 0.1), y)
        if span.leak_ids:
            marks.append(
                f'<circle cx="{(x + end) / 2:.3f}%" cy="{y - 1}" r="4" fill="{COLOURS["leak"]}" '
                'stroke="currentColor"/>'
            )
    for outcome, runs in merged.items():
        path = "".join(f"M{start} 0H{stop}V1H{start}Z" for start, stop in runs)
        yield _stretched(y, _BAR, 1, path, COLOURS[outcome])
    yield from marks


def _alone(spans: Sequence[TestSpan]) -> frozenset[int]:
    """Return which bars are drawn one by one: all, or those that want looking at, or the longest of them."""
    if len(spans) <= _FINE:
        return frozenset(map(id, spans))
    wanted = [span for span in spans if span.leak_ids or span.outcome not in {"passed", "skipped"}]
    chosen = wanted if len(wanted) <= _FINE else sorted(wanted, key=lambda span: span.start - span.stop)
    return frozenset(map(id, chosen[:_FINE]))


def _merge(runs: list[tuple[int, int]], start: int, stop: int) -> None:
    """Add a bar to those of one lane, which come in order; what touches is one."""
    stop = max(stop, start + 1)
    if runs and start <= runs[-1][1] + 1:
        runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
    else:
        runs.append((start, stop))


def _bar(span: TestSpan, number: int | None, x: float, width: float, y: int) -> str:
    leaks = f", left {len(span.leak_ids)} behind" if span.leak_ids else ""
    said = f"{short(span.nodeid)}: {span.outcome} in {format_seconds(span.stop - span.start)}{leaks}"
    fill = COLOURS[span.outcome] if span.outcome in {"passed", "skipped", "unfinished"} else "url(#failed)"
    bar = (
        f'<rect x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{_BAR}" '
        f'fill="{fill}"><title>{escape(printable(said))}</title></rect>'
    )
    return bar if number is None else f'<a href="#t{number}">{bar}</a>'
