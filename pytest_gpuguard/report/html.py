"""The record as one page that opens by double click: everything is in it, and it reads without script.

The page carries the record itself, so that it can be read back. Its policy (CSP) allows its own style sheet
and script by their hashes and nothing else; every text of the suite goes through autoescape.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import zlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from pytest_gpuguard.report.environment import environment
from pytest_gpuguard.report.levels import memory_text, peaks
from pytest_gpuguard.report.lines import count, plain, printable, short
from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.report.text import leak_lines, summary
from pytest_gpuguard.report.timeline import timeline
from pytest_gpuguard.report.trouble import last_stalls
from pytest_gpuguard.report.waitfor import graphs
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from pytest_gpuguard.report.model import Leak, LeakGroup, RunReport

__all__ = ["page", "record_in"]

_TEMPLATES = Path(__file__).with_name("templates")
_RECORD = re.compile(rb'<script type="application/gzip" id="record">([A-Za-z0-9+/=\s]*)</script>')
_MOST_LEAKS = 200


def page(report: RunReport) -> str:
    """Return the page."""
    import jinja2
    import msgspec

    style, script = (_read(name) for name in ("report.css", "report.js"))
    environment_ = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment_.filters |= {
        "amounts": memory_text,
        "bytes": format_bytes,
        "markdown": _markdown,
        "printable": printable,
        "prose": _prose,
        "remedy": remedy,
        "seconds": format_seconds,
        "short": short,
        "things": count,
    }
    return environment_.get_template("report.html.jinja").render(
        report=report,
        verdict=summary(report) or "nothing that wants looking at",
        mood=_mood(report),
        title=_title(report),
        facts=_facts(report),
        tests_of=_tests_of,
        most_leaks=_MOST_LEAKS,
        numbers=_numbers(report),
        # The longest first, before them those that ended badly.
        waits=sorted(report.waits, key=lambda wait: (wait.end == "granted", wait.began - wait.ended)),
        stalls=last_stalls(report.stalls),
        timeline=timeline(report),
        graphs=graphs(report),
        environment=environment(report),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        record=base64.b64encode(gzip.compress(msgspec.json.encode(report), 6, mtime=0)).decode(),
    )


def record_in(page: bytes) -> bytes | None:
    """Return the record that a page carries, as JSON; None when it is no page of ours."""
    match = _RECORD.search(page)
    if match is None:
        return None
    try:
        return gzip.decompress(base64.b64decode(match[1]))
    except (ValueError, OSError, EOFError, zlib.error):
        return None


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _mood(report: RunReport) -> str:
    """Return bad, warn or good."""
    verdict = report.verdict
    if report.failed_by:
        return "bad"
    if verdict.leaks > verdict.leaks_known or verdict.faults or verdict.deadlocks or verdict.timeouts:
        return "bad"
    return "warn" if summary(report) or report.run.end != "finished" else "good"


def _title(report: RunReport) -> str:
    name = Path(report.run.argv[-1]).name if report.run.argv and report.run.argv[-1][:1] != "-" else "pytest"
    return f"{name}: {summary(report) or 'clean'}"


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """Return the figures below the verdict, each with its label."""
    outcomes: dict[str, int] = {}
    for span in report.tests:
        outcomes[span.outcome] = outcomes.get(span.outcome, 0) + 1
    facts = [("tests", ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()) or "none")]
    facts += [("took", format_seconds(report.run.duration_s)), ("on", count(len(report.workers), "process"))]
    for peak in peaks(report.levels):
        limit = report.limits.get(peak.resource)
        if limit and peak.resource == "pinned":
            facts.append(("pinned peak", f"{format_bytes(peak.amount)} of {format_bytes(limit)}"))
    if report.verdict.waits:
        facts.append(
            ("waited", f"{format_seconds(report.verdict.waited_s)} in {count(report.verdict.waits, 'wait')}")
        )
    started = datetime.fromisoformat(report.run.started)
    return [*facts, ("started", f"{started:%Y-%m-%d %H:%M} UTC")]


def _numbers(report: RunReport) -> dict[str, int]:
    """Return the number of each test's row by node id."""
    return {span.nodeid: number for number, span in enumerate(report.tests)}


def _tests_of(group: LeakGroup) -> list[Leak]:
    """Return one leak for each test that left some of a group."""
    return list({(leak.origin.nodeid, leak.worker): leak for leak in group.leaks}.values())


def _prose(text: str) -> Markup:
    """Return a sentence in which backticks mark code, as far as they come in pairs."""
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        return escape(printable(text))
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if number % 2 else part for number, part in enumerate(parts))


def _markdown(group: LeakGroup) -> str:
    """Return a leak to paste into an issue."""
    return f"```text\n{plain(leak_lines(group, 1))}\n```"
