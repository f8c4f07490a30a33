"""``gpuguard clean``: take away what earlier boots and idle pools left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.parameters import DURATION
from pytest_gpuguard.cli.where import root_option
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuguard.ledger.cleanup import Leftover

__all__ = ["Cleaned", "Pool", "clean"]


class Pool(msgspec.Struct, frozen=True):
    """A pool that nobody is in.

    Parameters
    ----------
    path
        Its folder.
    idle_s
        Seconds since somebody last went in; null for one of an earlier boot.
    gone
        It was taken away.
    foreign
        Names of what lies in it and is not ours; that stays.
    """

    path: str
    idle_s: float | None
    gone: bool
    foreign: list[str]


class Cleaned(msgspec.Struct, frozen=True):
    """What was found, as ``gpuguard clean --json`` writes it."""

    pools: list[Pool]
    schema_version: int = 1


@click.command()
@root_option
@click.option(
    "--idle",
    type=DURATION,
    default="7d",
    show_default=True,
    help="How long nobody must have gone into a pool; 0s takes all that nobody is in.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be taken away.")
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON.")
@click.pass_context
def clean(ctx: click.Context, root: Path, idle: float, *, dry_run: bool, as_json: bool) -> None:
    """Take away budgets that earlier boots and idle pools left; never one that somebody is in.

    Nothing has to be cleaned for a run to go well: what dead processes held is free at once, and runs do
    this by themselves.
    """
    pools = [_pool(left) for left in _leftovers(root, idle, remove=not dry_run)]
    if as_json:
        click.echo(msgspec.json.encode(Cleaned(pools)))
    else:
        for pool in pools:
            click.echo(_line(pool, dry_run=dry_run))
        if not pools:
            click.echo(f"nothing to clean in {root}")
    ctx.exit(Exit.FINE)


def _leftovers(root: Path, idle: float, *, remove: bool) -> tuple[Leftover, ...]:
    if sys.platform != "linux":  # there, pools are folders without anything that could be in use
        return ()
    from pytest_gpuguard.ledger import cleanup
    from pytest_gpuguard.ledger.entrance import look_around

    with look_around(root) as boot:
        return cleanup.clean(boot.user, boot.generation, boot.name, idle, remove=remove) if boot else ()


def _pool(left: Leftover) -> Pool:
    return Pool(str(left.path), left.idle, left.gone, list(left.foreign))


def _line(pool: Pool, *, dry_run: bool) -> str:
    age = "of an earlier boot" if pool.idle_s is None else f"idle for {format_seconds(pool.idle_s)}"
    if pool.foreign:
        return f"kept {pool.path} ({age}): {', '.join(pool.foreign)} in it is not ours"
    if not (pool.gone or dry_run):
        return f"kept {pool.path} ({age}): somebody uses it"
    return f"{'would remove' if dry_run else 'removed'} {pool.path} ({age})"
