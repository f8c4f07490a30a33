"""Every verb and every option is in the reference."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()


def verbs(group=main, above="gpuguard"):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{above} {name}")
        else:
            yield f"{above} {name}", command


@pytest.mark.parametrize(("name", "command"), list(verbs()))
def test_a_verb_is_documented_with_its_options(name, command):
    assert f"`{name}" in PAGE
    assert command.help
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.opts[0] for option in options if option.opts[0] not in PAGE] == []
    assert [option.name for option in options if not option.help] == []


def test_every_status_is_documented():
    assert [status for status in Exit if f"| {status.value} |" not in PAGE] == []
