"""``gpuguard baseline``: the file of known leaks."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from click.core import ParameterSource

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.runs import cache_option, leave, load_run
from pytest_gpuguard.report.lines import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from typing import Any

    from pytest_gpuguard.report.baseline import Baseline, Entry
    from pytest_gpuguard.report.leaks import LeakGroup
    from pytest_gpuguard.report.model import RunReport

__all__ = ["baseline"]

_FILE = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="GPUGUARD_BASELINE",
    default="gpuguard-baseline.json",
    show_default=True,
    help="The baseline, as pytest's --gpuguard-baseline.",
)


def _file(verb: Callable[..., Any]) -> Callable[..., Any]:
    return _FILE(verb)


def _today() -> date:
    return datetime.now(UTC).date()


def _read(path: Path, *, missing_ok: bool = False) -> Baseline:
    from pytest_gpuguard.report.baseline import Baseline, read_baseline
    from pytest_gpuguard.report.reading import UnreadableError

    try:
        return read_baseline(path.read_bytes(), str(path))
    except FileNotFoundError:
        if missing_ok:
            return Baseline()
        leave(Exit.NOTHING, f"there is no baseline {path}: `gpuguard baseline accept` makes one")
    except (OSError, UnreadableError) as error:
        leave(Exit.UNREADABLE, f"GPG502: the baseline cannot be used: {error}")


def _write(path: Path, entries: Sequence[Entry]) -> None:
    from pytest_gpuguard.report.baseline import Baseline, write_baseline

    # Whole or not at all: it may hold the reasons of years.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(write_baseline(Baseline(leaks=list(entries))))
    temporary.replace(path)


@click.group()
def baseline() -> None:
    """Keep the file of known leaks: accept what there is, list it, drop what is gone."""


@baseline.command()
@click.argument("fingerprints", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Accept every leak of the run.")
@click.option("--reason", required=True, help="Why they are tolerated.")
@click.option("--issue", help="Where their end is worked on.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day on which they are tolerated.")
@click.option("--run", default="last", show_default=True, help="The run, named as for `gpuguard report`.")
@_file
@cache_option
def accept(
    fingerprints: tuple[str, ...],
    reason: str,
    issue: str | None,
    until: datetime | None,
    run: str,
    path: Path,
    cache: Path,
    *,
    everything: bool,
) -> None:
    """Accept leaks of a run, by the beginning of their fingerprints.

    A leak that was accepted before is accepted anew, as often as it occurs now.
    """
    from pytest_gpuguard.report.baseline import accept as accepted

    if not reason.strip():
        message = "a reason is wanted: whoever reads it next year must know"
        raise click.BadParameter(message, param_hint="--reason")
    if bool(fingerprints) == everything:
        message = "name the fingerprints of leaks, or say --all"
        raise click.UsageError(message)
    if until is not None and until.date() < _today():
        message = f"{until.date()} is over: nothing would be tolerated"
        raise click.BadParameter(message, param_hint="--until")
    groups = _chosen(load_run(run, cache), fingerprints)
    day = until.date().isoformat() if until else None
    entries = [accepted(group, reason.strip(), issue, day, _today()) for group in groups]
    kept = [
        entry
        for entry in _read(path, missing_ok=True).leaks
        if entry.fingerprint not in {new.fingerprint for new in entries}
    ]
    _write(path, [*kept, *entries])
    for entry in entries:
        click.echo(f"accepted  {_id(entry)}  {entry.title}, {count(entry.occurrences or 0, 'time')}")
    click.echo(f"{path}: {count(len(kept) + len(entries), 'known leak')}", err=True)


def _chosen(report: RunReport, fingerprints: Sequence[str]) -> list[LeakGroup]:
    if not report.groups:
        leave(Exit.NOTHING, f"run {report.run.id} left nothing behind: there is nothing to accept")
    if not fingerprints:
        return report.groups
    found = []
    for name in fingerprints:
        hits = [group for group in report.groups if _is_called(group, name)]
        if len(hits) != 1:
            known = ", ".join(_short(group.fingerprint) for group in report.groups)
            number = len(hits) or "no"
            message = f"{number} leaks of run {report.run.id} begin with {name!r}; there are {known}"
            raise click.UsageError(message)
        found += hits
    return found


def _is_called(group: LeakGroup, name: str) -> bool:
    return bool(name) and (name == group.fingerprint or group.fingerprint.partition(":")[2].startswith(name))


def _short(fingerprint: str) -> str:
    return fingerprint.partition(":")[2][:8]


def _id(entry: Entry) -> str:
    return _short(entry.fingerprint)


@baseline.command(name="list")
@click.option("--check", is_flag=True, help="End with 1 when the time of entries is over.")
@click.option("--json", "as_json", is_flag=True, help="Write them as JSON.")
@_file
@click.pass_context
def list_(ctx: click.Context, path: Path, *, check: bool, as_json: bool) -> None:
    """List the known leaks, those whose time is over first.

    Where the default file is not there, nothing is accepted and nothing over: with --check that is fine.
    """
    is_default = ctx.get_parameter_source("path") is ParameterSource.DEFAULT
    if check and is_default and not path.exists():
        click.echo(f"there is no baseline {path}: nothing is accepted", err=True)
        return
    found, today = _read(path), _today()
    over = [entry for entry in found.leaks if entry.expired(today)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
    else:
        for entry in (*over, *(entry for entry in found.leaks if entry not in over)):
            _show(entry, is_over=entry in over)
    ctx.exit(Exit.FINDINGS if check and over else Exit.FINE)


def _show(entry: Entry, *, is_over: bool) -> None:
    times = f", {count(entry.occurrences, 'time')}" if entry.occurrences is not None else ""
    until = f", {'EXPIRED' if is_over else 'until'} {entry.until}" if entry.until else ""
    click.secho(f"{_id(entry)}  {entry.title}{times}{until}", fg="red" if is_over else None, bold=is_over)
    issue = f" ({entry.issue})" if entry.issue else ""
    click.echo(f"          {entry.reason}{issue}, since {entry.accepted}")


@baseline.command()
@click.option("--run", default="last", show_default=True, help="The run that says what is gone.")
@click.option("--expired", is_flag=True, help="Drop also the entries whose time is over.")
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@_file
@cache_option
def prune(run: str, path: Path, cache: Path, *, expired: bool, dry_run: bool) -> None:
    """Drop what a run no longer leaks although tests that left it passed, and it watched for that kind."""
    from pytest_gpuguard.report.baseline import gone

    found, report, today = _read(path), load_run(run, cache), _today()
    prints = {entry.fingerprint for entry in gone(found, report, today)}
    dropped = [
        entry for entry in found.leaks if entry.fingerprint in prints or (expired and entry.expired(today))
    ]
    if dropped and not dry_run:
        _write(path, [entry for entry in found.leaks if entry not in dropped])
    verb = "would be dropped" if dry_run else "dropped"
    for entry in dropped:
        click.echo(f"{'would drop' if dry_run else 'dropped'}  {_id(entry)}  {entry.title}")
    click.echo(f"{path}: {len(dropped)} of {len(found.leaks)} {verb}", err=True)
