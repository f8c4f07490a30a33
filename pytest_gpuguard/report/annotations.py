"""Annotations for GitHub, at the lines to blame: workflow commands, each for a line of its own.

GitHub shows ten of a kind for each step; one of them is kept for how many there are more.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from pytest_gpuguard.report.lines import count, printable, short
from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuguard.report.leaks import LeakGroup
    from pytest_gpuguard.report.model import RunReport

__all__ = ["annotate"]

_MOST_ANNOTATIONS = 9


def annotate(report: RunReport) -> list[str]:
    """Return workflow commands, each for its own line: new leaks, dead threads, tests that were ended."""
    errors = [_leak(group) for group in report.groups if group.status != "known"]
    warnings = [
        *(
            _command("warning", death.nodeid.partition("::")[0], 0, "GPG110", f"thread died: {death.error}")
            for death in report.deaths
        ),
        *(
            _command(
                "warning",
                stall.nodeid.partition("::")[0],
                0,
                "GPG601",
                f"{short(stall.nodeid)} made no progress for {format_seconds(stall.idle_s)} and was ended",
            )
            for stall in report.stalls
            if stall.ended
        ),
    ]
    return list(chain(_few("error", errors), _few("warning", warnings)))


def _few(kind: str, commands: Sequence[str]) -> Iterator[str]:
    yield from commands[:_MOST_ANNOTATIONS]
    if len(commands) > _MOST_ANNOTATIONS:
        more = len(commands) - _MOST_ANNOTATIONS
        yield _command(kind, "", 0, "gpuguard", f"and {more} more, see the summary")


def _leak(group: LeakGroup) -> str:
    suspect = group.suspect
    inside = suspect is not None and not suspect.file.startswith("<")
    file, line = (suspect.file, suspect.line) if suspect is not None and inside else ("", 0)
    text = f"{group.title}, {count(len(group.counted), 'time')}: {remedy(group.counted[0])}"
    return _command("error", file, line, f"{group.code} {group.status} leak", text)


def _command(kind: str, file: str, line: int, title: str, text: str) -> str:
    given = {"file": file, "line": str(line or ""), "title": title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
    return f"::{kind} {properties}::{_data(printable(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
