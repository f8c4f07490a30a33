"""The command ``gpuguard``: a group of verbs."""

from __future__ import annotations

import click

from pytest_gpuguard import __version__
from pytest_gpuguard.cli.demo import demo

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gpuguard")
def main() -> None:
    """Look after CUDA test suites: the demo, reports, budgets, the state of this host."""


main.add_command(demo)
