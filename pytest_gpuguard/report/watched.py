"""What was watched and how much of it was seen: no leak must never mean that nothing was watching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.report.lines import Line, Piece, count, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.report.model import RunReport

__all__ = ["watched_lines"]

#: One and many of each kind, as people count them.
_NOUNS = {
    "process": ("process", "processes"),
    "pinned": ("pinned buffer", "pinned buffers"),
    "device": ("device buffer", "device buffers"),
    "shm": ("shared segment", "shared segments"),
    "fd": ("descriptor", "descriptors"),
    "memory": ("memory growth", "memory growths"),
}


def _things(number: int, kind: str) -> str:
    return f"{number} {_NOUNS.get(kind, (kind, kind + 's'))[number != 1]}"


def watched_lines(report: RunReport, verbosity: int = 0) -> Iterator[Line]:
    """Yield how much was seen of each kind, and of which none; at ``-v`` also who saw it."""
    if report.settings["leaks"].value == "off":
        yield [Piece("gpuguard: leaks=off, so nothing is said about what was left behind", "dim")]
        return
    seen = ", ".join(_things(probe.seen, probe.kind) for probe in report.probes if probe.seen) or "nothing"
    known = sum(probe.known for probe in report.probes)
    kept = f" ({known} kept by libraries)" if known else ""
    text = f"gpuguard: {seen} seen{kept} in {count(len(report.tests), 'test')}"
    if report.groups:
        yield from wrapped(text, "dim")
    else:
        yield from wrapped(f"{text}, nothing left behind", "good")
    blank = [probe.kind for probe in report.probes if not (probe.seen or probe.unable)]
    if blank:
        yield from wrapped(f"gpuguard: watched, none seen: {', '.join(blank)}", "dim")
    for probe in report.probes:
        if probe.unable:
            yield from wrapped(f"gpuguard: {probe.kind} not watched: {probe.unable}", "warn")
    if verbosity > 0:
        stood = [_things(probe.stood, probe.kind) for probe in report.probes if probe.stood]
        if stood:
            yield from wrapped(f"gpuguard: there before the tests, and nobody's: {', '.join(stood)}", "dim")
        names = dict.fromkeys(name for worker in report.workers for name in worker.watching)
        yield from wrapped(f"gpuguard: seen by {', '.join(names) or 'nobody'}", "dim")
