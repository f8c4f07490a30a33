"""``gpuguard report``: a run once more, in any of its forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.runs import cache_option, load_run
from pytest_gpuguard.cli.styled import echo_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.report.lines import Line
    from pytest_gpuguard.report.model import RunReport

__all__ = ["report"]


def _html(run: RunReport) -> str:
    from pytest_gpuguard.report.html import page

    return page(run)


def _json(run: RunReport) -> str:
    import msgspec

    from pytest_gpuguard.report.build import encode

    return msgspec.json.format(encode(run), indent=1).decode() + "\n"


def _markdown(run: RunReport) -> str:
    from pytest_gpuguard.report.markdown import step_summary

    return step_summary(run)


def _trace(run: RunReport) -> str:
    from pytest_gpuguard.report.trace import trace

    return trace(run).decode()


_FORMS: dict[str, Callable[[RunReport], str]] = {
    "html": _html,
    "json": _json,
    "markdown": _markdown,
    "trace": _trace,
}


@click.command()
@click.argument("run", default="last")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", *_FORMS]),
    default="text",
    show_default=True,
    help="What to write.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to a file instead of standard output.",
)
@click.option("-v", "--verbose", count=True, help="Show all leaks; twice: everything of each.")
@click.option("--check", is_flag=True, help="End with 1 when there are leaks that nobody tolerates.")
@cache_option
def report(
    run: str, form: str, output: Path | None, verbose: int, cache: Path, *, as_json: bool, check: bool
) -> None:
    """Show a run again: the last one, or RUN.

    RUN is a folder, a report.json or a page of an earlier run; "last~1" for the one before the last; or how
    the name of a run in pytest's cache begins. A run that goes on, or was cut off, is shown as far as it got.
    """
    found = load_run(run, cache)
    form = "json" if as_json else form
    if form != "text":
        _write(_FORMS[form](found), output)
    elif output is not None:
        from pytest_gpuguard.report.text import plain

        _write(plain(_lines(found, verbose)) + "\n", output)
    else:
        echo_lines(_lines(found, verbose))
    if check and found.verdict.leaks > found.verdict.leaks_known:
        click.get_current_context().exit(Exit.FINDINGS)


def _lines(run: RunReport, verbosity: int) -> list[Line]:
    from pytest_gpuguard.report.text import closing_lines, section_lines

    section = section_lines(run, verbosity)
    return [*section, *([[]] if section else []), *closing_lines(run, verbosity)]


def _write(text: str, output: Path | None) -> None:
    text = text if text.endswith("\n") else f"{text}\n"
    if output is None:
        click.echo(text.encode(), nl=False)  # as in a file, whatever the terminal speaks
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"written: {output}", err=True)
