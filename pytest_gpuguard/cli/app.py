"""The command ``gpuguard``: one module per verb, gathered here."""

from __future__ import annotations

import io
import sys

import click

from pytest_gpuguard import __version__
from pytest_gpuguard.cli.baseline import baseline
from pytest_gpuguard.cli.budget import budget
from pytest_gpuguard.cli.clean import clean
from pytest_gpuguard.cli.completion import completion
from pytest_gpuguard.cli.demo import demo
from pytest_gpuguard.cli.diff import diff
from pytest_gpuguard.cli.doctor import doctor
from pytest_gpuguard.cli.explain import explain
from pytest_gpuguard.cli.group import Verbs, wants_color
from pytest_gpuguard.cli.report import report
from pytest_gpuguard.cli.schema import schema
from pytest_gpuguard.cli.status import status

__all__ = ["main"]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gpuguard")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour the output; auto looks at NO_COLOR, FORCE_COLOR and the terminal.",
)
@click.pass_context
def main(ctx: click.Context, color: str) -> None:
    """Look after CUDA test suites: the demo, reports, budgets, the state of this host."""
    ctx.color = wants_color(color)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of the suite are of any language, whatever that of the terminal.
        sys.stdout.reconfigure(errors="backslashreplace")


for verb in (
    demo,
    report,
    diff,
    baseline,
    budget,
    status,
    doctor,
    clean,
    explain,
    schema,
    completion,
):
    main.add_command(verb)
