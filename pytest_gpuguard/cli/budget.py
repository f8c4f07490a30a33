"""``gpuguard budget``: the limits of a pool, while runs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from pytest_gpuguard.budget.wording import amount_text, amounts_text
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.where import Where, pool_options, snapshot_of
from pytest_gpuguard.units import parse_amounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Limit", "Limits", "budget"]


class Limit(msgspec.Struct, frozen=True):
    """The limit of one resource.

    Parameters
    ----------
    limit
        The one in force.
    set_to
        What ``gpuguard budget set`` said; null when it said nothing.
    configured
        What those who take part are configured with, smallest first, each value once.
    """

    name: str
    limit: int
    set_to: int | None
    configured: list[int]


class Limits(msgspec.Struct, frozen=True):
    """All of them, as ``gpuguard budget show --json`` writes it.

    Parameters
    ----------
    defaults
        What a run begins with on this host that sets nothing, devices apart.
    """

    pool: str
    folder: str
    limits: list[Limit]
    defaults: dict[str, int]
    schema_version: int = 1


@click.group()
def budget() -> None:
    """Show or set the limits of a budget, while runs go on."""


@budget.command()
@pool_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def show(ctx: click.Context, root: Path, pool: str, *, as_json: bool) -> None:
    """Show the limits in force, what was set, and what the runs are configured with."""
    where = Where(root, pool)
    limits = _limits(where)
    if as_json:
        click.echo(msgspec.json.encode(limits))
    else:
        click.echo("\n".join(_table(limits)))
    ctx.exit(Exit.FINE)


@budget.command(name="set")
@pool_options
@click.argument("amounts", nargs=-1, required=True, metavar="NAME=AMOUNT...")
@click.pass_context
def set_(ctx: click.Context, root: Path, pool: str, amounts: tuple[str, ...]) -> None:
    """Limit everybody in a budget, from now on and until the host restarts.

    AMOUNT is text such as 2GiB, a number, or `none`, which takes back what was set; gpu=AMOUNT means each
    device. Other limits stay. The smallest limit of all counts, so a limit set here never raises what a
    run is configured with. Nothing is taken from anybody: when more is held, no more is granted until
    enough came back.
    """
    from pytest_gpuguard.budget.standing import change_limits

    where = Where(root, pool)
    changes = dict(_change(entry) for entry in amounts)
    try:
        change_limits(changes, where.root, where.pool)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME=AMOUNT") from error
    limits = _limits(where)
    click.echo("\n".join(_table(limits)))
    for line in _remarks(where, limits):
        click.echo(line, err=True)
    ctx.exit(Exit.FINE)


def _change(entry: str) -> tuple[str, int | None]:
    name, _, amount = entry.partition("=")
    if amount.strip().lower() == "none" and name.strip():
        return name.strip(), None
    try:
        changes = list(parse_amounts(entry).items())
        if len(changes) > 1:
            message = f"{entry!r}: give resources one at a time, apart by blanks"
            raise ValueError(message)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME=AMOUNT") from error
    return changes[0]


def _limits(where: Where) -> Limits:
    from pytest_gpuguard.budget.limits import default_limits
    from pytest_gpuguard.budget.standing import standing_limits

    known = [
        Limit(each.name, each.limit, each.set_to, list(each.stated))
        for each in standing_limits(where.root, where.pool)
    ]
    return Limits(where.pool, str(where.path), known, default_limits())


def _table(limits: Limits) -> Iterator[str]:
    yield f"pool {limits.pool} in {limits.folder}"
    if limits.limits:
        yield from _columns(
            [("resource", "in force", "set to", "configured by runs"), *map(_row, limits.limits)]
        )
    if not any(limit.configured for limit in limits.limits):
        yield f"nobody takes part now; a run that sets nothing begins with {amounts_text(limits.defaults)}"


def _row(limit: Limit) -> tuple[str, ...]:
    set_to = "-" if limit.set_to is None else amount_text(limit.name, limit.set_to)
    configured = ", ".join(amount_text(limit.name, amount) for amount in limit.configured)
    return limit.name, amount_text(limit.name, limit.limit), set_to, configured or "-"


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _remarks(where: Where, limits: Limits) -> Iterator[str]:
    """Say what is not as one may have meant it."""
    free = snapshot_of(where, lambda _: None).free
    for limit in limits.limits:
        if limit.set_to is None:
            continue
        if limit.configured and limit.set_to > limit.configured[0]:
            text = amount_text(limit.name, limit.configured[0])
            yield f"{limit.name}: a run is configured with {text}, and the smallest limit counts"
        if (left := free.get(limit.name, 0)) < 0:
            over = amount_text(limit.name, -left)
            yield f"{limit.name}: {over} more than that are held; no more is granted until they came back"
