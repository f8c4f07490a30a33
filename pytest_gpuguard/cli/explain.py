"""``gpuguard explain``: what a code means, how to find its cause, how to allow it."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.runs import leave
from pytest_gpuguard.errors import CATALOGUE

__all__ = ["explain", "pages"]

# In the wheel beside this module; in a checkout where it is written.
_PLACES = (
    Path(__file__).with_name("errors.md"),
    Path(__file__).resolve().parents[2] / "docs" / "reference" / "errors.md",
)


def pages() -> dict[str, str]:
    """Return the page of each code."""
    text = next((place.read_text(encoding="utf-8") for place in _PLACES if place.is_file()), "")
    parts = re.split(r"^## (GPG\d{3})\n", text, flags=re.MULTILINE)[1:]
    return {code: page.strip() for code, page in zip(parts[::2], parts[1::2], strict=True)}


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Explain a code such as GPG101; without one, list them all."""
    if code is None:
        for entry in CATALOGUE.values():
            click.echo(f"{click.style(entry.number, bold=True)}  {entry.sentence}")
        return
    number = code.upper() if code.upper().startswith("GPG") else f"GPG{code}"
    found = CATALOGUE.get(number)
    if found is None:
        leave(Exit.NOTHING, f"there is no code {code!r}; `gpuguard explain` lists them")
    click.secho(f"{found.number}: {found.sentence}\n", bold=True)
    page = pages().get(number)
    if page:
        click.echo(re.sub(r"\*\*(.+?)\*\*", lambda match: click.style(match[1], bold=True), page) + "\n")
    click.echo(f"hint: {found.hint}")
