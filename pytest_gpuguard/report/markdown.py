"""The record in markdown, for GitHub's step summary, which is dropped whole beyond 1 MiB.

The limit is kept here, and what was left out is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.report.environment import environment
from pytest_gpuguard.report.levels import in_bytes, peaks
from pytest_gpuguard.report.lines import count, plain, printable, short
from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.report.text import leak_lines, summary
from pytest_gpuguard.report.trouble import trouble_blocks
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuguard.report.leaks import LeakGroup
    from pytest_gpuguard.report.model import RunReport

__all__ = ["step_summary"]

_LIMIT = 900_000  # bytes
_MOST_ROWS = 200
_MOST_TRACES = 50
_MOST_WAITS = 5


def _inline(text: str) -> str:
    """Return a text of the suite that markdown leaves alone, within a line of a table."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&@])", r"\\\1", printable(text)).replace("\\<", "&lt;")


def _code(text: str) -> str:
    """Return a text of the suite as code; a backtick cannot be written in it, a bar not in a table."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', '¦')}`" if text else ""


def _prose(text: str) -> str:
    """Return a sentence in which backticks mark code, as far as they come in pairs."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _inline(text)
    return "".join(_code(part) if number % 2 else _inline(part) for number, part in enumerate(parts))


def _fenced(text: str) -> str:
    # A fence must be longer than any that is in the text.
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def step_summary(report: RunReport) -> str:
    """Return the step summary; sections that do not fit are left out, which is said."""
    parts, size, left = [], 0, 0
    for section in filter(None, _sections(report)):
        length = len(section.encode()) + 2
        if size + length > _LIMIT:
            left += 1
            continue
        parts.append(section)
        size += length
    if left:
        parts.append(f"*{count(left, 'section')} left out: GitHub takes 1 MiB; all of it is in report.json*")
    return "\n\n".join(parts) + "\n"


def _sections(report: RunReport) -> Iterator[str]:
    yield f"### gpuguard: {_inline(summary(report)) or 'nothing that wants looking at'}"
    ends = {
        "cut off": "This run was cut off: what follows was known by then.",
        "interrupted": "This run was interrupted.",
        "running": "This run goes on.",
    }
    yield ends.get(report.run.end, "")
    yield "\n".join(f"- {_inline(reason)}" for reason in report.failed_by)
    yield _table(report.groups)
    yield _budget(report)
    blocks = [plain(block) for block in trouble_blocks(report)]
    yield _fenced("\n\n".join(blocks)) if blocks else ""
    for group in report.groups[:_MOST_TRACES]:
        if group.status != "known":
            yield _details(f"{group.title} ({group.fingerprint[-16:][:8]})", plain(leak_lines(group, 1)))
    yield _details("environment", environment(report))


def _table(groups: Sequence[LeakGroup]) -> str:
    if not groups:
        return ""
    lines = ["| | leak | suspect | tests | remedy |", "| --- | --- | --- | --- | --- |"]
    for group in groups[:_MOST_ROWS]:
        size = f" {format_bytes(group.totals.nbytes)}" if group.totals.nbytes else ""
        suspect = group.suspect
        place = f" {_code(f'{suspect.file}:{suspect.line}')}" if suspect else ""
        known = group.known
        why = _inline(f"{known.reason} {known.issue or ''}") if known else _prose(remedy(group.counted[0]))
        lines.append(
            f"| {group.status} | {_inline(group.title)}{size} x {len(group.counted)} "
            f"| {_code(suspect.function) if suspect else ''}{place} | {group.totals.tests} "
            f"| {why.strip()} |"
        )
    if len(groups) > _MOST_ROWS:
        lines.append(f"| | and {len(groups) - _MOST_ROWS} more, all in report.json | | | |")
    return "\n".join(lines)


def _budget(report: RunReport) -> str:
    said = [
        f"{_inline(peak.resource)} peak {amount_text(peak.resource, peak.amount)} of "
        f"{amount_text(peak.resource, report.limits[peak.resource])}."
        for peak in peaks(report.levels)
        if report.limits.get(peak.resource) and in_bytes(peak.resource)
    ]
    longest = sorted(report.waits, key=lambda wait: wait.began - wait.ended)[:_MOST_WAITS]
    if longest:
        whole = format_seconds(report.verdict.waited_s)
        said.append(f"{count(len(report.waits), 'wait')} for a lease, {whole} in all; the longest:")
    rows = [
        f"- {format_seconds(wait.ended - wait.began)}, {wait.end}: {_code(short(wait.nodeid))}"
        + (f" behind {_code(wait.blocked_by[-1])}" if wait.blocked_by else "")
        for wait in longest
    ]
    return "\n".join([" ".join(said), *([""] if rows else []), *rows]) if said else ""


def _details(title: str, text: str) -> str:
    named = printable(title).replace("&", "&amp;").replace("<", "&lt;")
    return f"<details><summary>{named}</summary>\n\n{_fenced(text)}\n\n</details>"
