"""``gpuguard status``: who holds what, who waits and why, once or for as long as one looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.parameters import DURATION
from pytest_gpuguard.cli.screen import Screen, columns, draws_blocks
from pytest_gpuguard.cli.state import state_of
from pytest_gpuguard.cli.stateview import state_lines
from pytest_gpuguard.cli.styled import echo_lines
from pytest_gpuguard.cli.where import Where, pool_options, pools_in_use, snapshot_of
from pytest_gpuguard.report.text import Piece
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuguard.cli.state import State
    from pytest_gpuguard.report.text import Line

__all__ = ["status"]

_SHORTEST = 0.05


@click.command()
@pool_options
@click.option("--watch", is_flag=True, help="Look again and again, until ctrl-C.")
@click.option(
    "--interval",
    type=DURATION,
    default="1s",
    show_default=True,
    help="With --watch: time between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON; with --watch a line for each look.")
@click.pass_context
def status(ctx: click.Context, root: Path, pool: str, interval: float, *, watch: bool, as_json: bool) -> None:
    """Show who holds what of a budget, who waits, and why.

    Takes no part in the budget. Ends with 3 when nobody takes part in it, and with 5 when somebody stuck
    keeps it from being read in one piece (what could be seen is shown).
    """
    where = Where(root, pool)
    if watch:
        try:
            _watch(where, max(_SHORTEST, interval), as_json=as_json)
        except KeyboardInterrupt:  # how one stops looking
            ctx.exit(Exit.FINE)
    state = _look(where)
    if as_json:
        click.echo(msgspec.json.encode(state))
    elif state.participants:
        echo_lines(_lines(state))
    else:
        click.echo("\n".join(_nobody(where)), err=True)
    ctx.exit(Exit.BUSY if state.approximate else Exit.FINE if state.participants else Exit.NOTHING)


def _look(where: Where) -> State:
    said: list[str] = []
    return state_of(snapshot_of(where, said.append), where, said)


def _nobody(where: Where) -> list[str]:
    others = [name for name in pools_in_use(where.root) if name != where.pool]
    lines = [f"nobody takes part in pool {where.pool} in {where.root}"]
    return [*lines, f"somebody does in: {', '.join(others)} (--pool NAME)"] if others else lines


def _lines(state: State) -> list[Line]:
    return state_lines(state, columns(), unicode=draws_blocks())


def _watch(where: Where, interval: float, *, as_json: bool) -> None:
    if as_json:
        while True:
            click.echo(msgspec.json.encode(_look(where)))
            time.sleep(interval)
    foot = [Piece(f"every {format_seconds(interval)}, ctrl-C ends", "dim")]
    with Screen() as screen:
        while True:
            state = _look(where)
            lines = _lines(state) if state.participants else [[Piece(line)] for line in _nobody(where)]
            screen.show([*lines, [], foot])
            time.sleep(interval)
