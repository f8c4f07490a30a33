"""``gpuguard diff``: what leaks now and did not before, and what no longer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.runs import cache_option, load_run
from pytest_gpuguard.cli.styled import echo_lines

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["diff"]


@click.command()
@click.argument("old")
@click.argument("new", default="last")
@click.option("-v", "--verbose", is_flag=True, help="Show also what is the same.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@cache_option
@click.pass_context
def diff(ctx: click.Context, old: str, new: str, cache: Path, *, verbose: bool, as_json: bool) -> None:
    """Compare the leaks of two runs, named as for `gpuguard report`; NEW is the last one by default.

    Ends with 1 when something is new or worse. Between two runs with the same leaks it says nothing.
    """
    import msgspec

    from pytest_gpuguard.report.diff import difference, difference_lines

    found = difference(load_run(old, cache), load_run(new, cache))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
    else:
        echo_lines(difference_lines(found.changes, everything=verbose))
    ctx.exit(Exit.FINDINGS if found.bad else Exit.FINE)
