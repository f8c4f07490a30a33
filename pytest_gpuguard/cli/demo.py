"""``gpuguard demo``: the incident, bare and guarded, in about a minute."""

from __future__ import annotations

import itertools
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_gpuguard.cli.acts import ACTS, UnexpectedError
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.styled import echo_lines
from pytest_gpuguard.cli.watched import Outcome, run_pytest
from pytest_gpuguard.report.text import section_lines
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.cli.acts import Act

__all__ = ["demo"]

_ROOT = Path(__file__).resolve().parents[2]


@click.command()
def demo() -> None:
    """Run the incident that started this project: bare it hangs, guarded it ends and names the leak."""
    if not all((_ROOT / "examples" / act.suite).is_dir() for act in ACTS):
        click.echo(
            "the demo's suites are not part of the installed package: "
            "clone the project's repository and run `make demo` there",
            err=True,
        )
        sys.exit(Exit.NOTHING)
    results = [_play(number, act) for number, act in enumerate(ACTS, start=1)]
    _table(results)
    sys.exit(Exit.FINE if all(good for *_, good in results) else Exit.FINDINGS)


def _play(number: int, act: Act) -> tuple[Act, Outcome, str, bool]:
    with tempfile.TemporaryDirectory(prefix="gpuguard-demo-") as name:
        folder = Path(name)
        guard = () if "no:gpuguard" in act.options else (f"--gpuguard-report={folder}",)
        shown = ["-n", "2", *act.options, f"examples/{act.suite}"]
        click.secho(f"\n{number}/{len(ACTS)}  {act.title}", bold=True)
        click.echo(f"{act.story}\n$ pytest {' '.join(shown)}")
        hidden = ("-p", "no:cacheprovider", f"--basetemp={folder / 'base'}")
        outcome = run_pytest(_ROOT, [*hidden, *shown, *guard], folder, act.limit, _progress(act))
    return act, outcome, *_result(act, outcome)


def _progress(act: Act) -> Callable[[Outcome], None]:
    """Return what shows progress: a line that is rewritten on a terminal, a line now and then in a log."""
    alive, said = sys.stdout.isatty(), [0.0]

    def tick(outcome: Outcome) -> None:
        text = f"  {outcome.seconds:5.1f} s  {len(outcome.finished)} of {outcome.total or '?'} tests"
        if alive:
            click.echo(f"\r\x1b[2K{text}  {outcome.last.rpartition('::')[2][:50]}", nl=False)
        elif outcome.seconds - said[0] >= 5:
            said[0] = outcome.seconds
            click.echo(f"{text} (ended at {act.limit:g} s)")

    return tick


def _result(act: Act, outcome: Outcome) -> tuple[str, bool]:
    if sys.stdout.isatty():
        click.echo("\r\x1b[2K", nl=False)
    if outcome.report is not None:
        echo_lines(section_lines(outcome.report))
    _show_first_cause(outcome)
    try:
        text, good = act.judge(outcome), True
    except UnexpectedError as unexpected:
        text, good = f"NOT AS EXPECTED: {unexpected}", False
        click.echo("\n".join(outcome.output[-40:]), err=True)
    click.secho(f"=> {text} ({format_seconds(outcome.seconds)})", fg="green" if good else "red", bold=True)
    return text, good


def _show_first_cause(outcome: Outcome) -> None:
    """Show the first error that a waiting test got: it is what its developer reads."""
    starts = [
        number for number, line in enumerate(outcome.output) if line.startswith("E  ") and "GPG" in line
    ]
    if starts:
        click.echo("\nthe first test that was ended reads:")
        error = list(itertools.takewhile(lambda line: line.startswith("E "), outcome.output[starts[0] :]))
        text = textwrap.dedent("\n".join(line[1:] for line in error))
        click.secho(textwrap.indent(text, "  "), fg="yellow")


def _table(results: list[tuple[Act, Outcome, str, bool]]) -> None:
    width = max(len(act.title) for act, *_ in results)
    click.echo()
    for act, outcome, text, good in results:
        mark = "ok" if good else "!!"
        click.echo(f"{mark}  {act.title:<{width}}  {outcome.seconds:5.1f} s  ", nl=False)
        click.secho(text, fg="green" if good else "red")
