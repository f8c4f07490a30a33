"""A view that stays open: redrawn in place on a terminal, one block after another in a log."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from pytest_gpuguard.cli.stateview import cut_to
from pytest_gpuguard.cli.styled import echo_lines

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_gpuguard.report.text import Line

__all__ = ["Screen", "columns", "draws_blocks"]

# Another screen, as editors have one, without a cursor; and back to what was there before.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
# Drawn over the last picture rather than after clearing it, so that nothing flickers.
_HOME, _REST_OF_SCREEN, _REST_OF_LINE = "\x1b[H", "\x1b[J", "\x1b[K"


def columns() -> int:
    """Return the width of the terminal, 80 without one."""
    return shutil.get_terminal_size().columns


def draws_blocks() -> bool:
    """Return whether the output takes block characters."""
    try:
        "█░".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Screen:
    """Shows lines again and again; use it as a context manager."""

    def __init__(self) -> None:
        self._alive = sys.stdout.isatty()

    def __enter__(self) -> Screen:
        if self._alive:
            click.echo(_ENTER, nl=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alive:
            click.echo(_LEAVE, nl=False)

    def show(self, lines: list[Line]) -> None:
        """Show ``lines`` instead of those before."""
        if not self._alive:
            echo_lines([*lines, []])
            sys.stdout.flush()
            return
        click.echo(_HOME, nl=False)
        echo_lines(cut_to(lines, shutil.get_terminal_size().lines - 1), end=_REST_OF_LINE)
        click.echo(_REST_OF_SCREEN, nl=False)
        sys.stdout.flush()
