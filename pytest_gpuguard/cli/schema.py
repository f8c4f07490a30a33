"""``gpuguard schema``: the JSON Schemas of what others may read."""

from __future__ import annotations

import click

__all__ = ["schema"]


@click.command()
@click.argument("what", type=click.Choice(["report", "baseline"]))
def schema(what: str) -> None:
    """Print the JSON Schema of the record of a run, or of the baseline."""
    from pytest_gpuguard.report.schema import schema_of, shipped

    if what == "report":
        click.echo(shipped(), nl=False)
        return
    import msgspec

    from pytest_gpuguard.report.baseline import Baseline

    click.echo(msgspec.json.format(msgspec.json.encode(schema_of(Baseline)), indent=1))
