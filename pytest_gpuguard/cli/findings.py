"""What the doctor finds: one shape for every check, for people and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Literal

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "Findings", "fail", "note", "ok", "show", "warn"]

Level = Literal["ok", "note", "warn", "fail"]

_COLOURS: dict[Level, str] = {"ok": "green", "note": "blue", "warn": "yellow", "fail": "red"}
_NOUNS = {"ok": "ok", "note": "note", "warn": "warning", "fail": "failure"}
_WIDTH = 80


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at.

    Parameters
    ----------
    level
        ``ok``; ``note`` for what people should know; ``warn`` for what costs speed or may go wrong;
        ``fail`` for what does go wrong.
    about
        What was looked at: ``state folder``, ``driver``, ``versions`` ...
    text
        What was found, with numbers.
    do
        What to do; every warning and failure has it.
    """

    level: Level
    about: str
    text: str
    do: str = ""


class Findings(msgspec.Struct, frozen=True):
    """All of them, as ``gpuguard doctor --json`` writes them."""

    findings: list[Finding]
    schema_version: int = 1


def ok(about: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding("ok", about, text)


def note(about: str, text: str, do: str = "") -> Finding:
    """Return what people should know and need not mend."""
    return Finding("note", about, text, do)


def warn(about: str, text: str, do: str) -> Finding:
    """Return what costs speed, or may go wrong."""
    return Finding("warn", about, text, do)


def fail(about: str, text: str, do: str) -> Finding:
    """Return what goes wrong."""
    return Finding("fail", about, text, do)


def show(findings: Iterable[Finding]) -> None:
    """Write findings for people, and how many there are of each kind."""
    counts = Counter[str]()
    for finding in findings:
        counts[finding.level] += 1
        click.secho(f"{finding.level:<6}", fg=_COLOURS[finding.level], bold=True, nl=False)
        click.echo(_wrapped(f"{finding.about}: {finding.text}"))
        if finding.do:
            click.echo(f"      {click.style('do:', bold=True)} {_wrapped(finding.do, 10)}")
    click.echo(", ".join(_counted(counts[level], noun) for level, noun in _NOUNS.items() if counts[level]))


def _wrapped(text: str, indent: int = 6) -> str:
    # Paths and commands are pasted: they are never broken.
    lines = textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if noun == "ok" or number == 1 else f"{number} {noun}s"
