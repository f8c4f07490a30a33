"""Lines of a report on the terminal of ``gpuguard``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuguard.report.text import Line

__all__ = ["echo_lines"]

_STYLES: dict[str, dict[str, Any]] = {
    "": {},
    "bad": {"fg": "red", "bold": True},
    "warn": {"fg": "yellow"},
    "good": {"fg": "green"},
    "strong": {"bold": True},
    "dim": {"dim": True},
}


def echo_lines(lines: Iterable[Line], end: str = "") -> None:
    """Write lines in their styles; colour is left out where the output is no terminal.

    Parameters
    ----------
    end
        What comes before the end of each line.
    """
    for line in lines:
        for piece in line:
            click.secho(piece.text, nl=False, **_STYLES[piece.style])
        click.echo(end)
