"""``gpuguard doctor``: does this host do what the plugin needs, and what to do where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.findings import Findings, show
from pytest_gpuguard.cli.machine import look_at_devices, look_at_packages, look_deeper
from pytest_gpuguard.cli.statefolder import look_at_state_folder
from pytest_gpuguard.cli.where import Where, pool_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_gpuguard.cli.findings import Finding

__all__ = ["CHECKS", "doctor"]

#: What is looked at, in this order; a check changes nothing on the host.
CHECKS: tuple[Callable[[Where], Iterable[Finding]], ...] = (
    look_at_packages,
    look_at_devices,
    look_at_state_folder,
)


@click.command()
@pool_options
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option("--deep", is_flag=True, help="Start CUDA and the simulator too, in children; takes seconds.")
@click.pass_context
def doctor(ctx: click.Context, root: Path, pool: str, *, as_json: bool, deep: bool) -> None:
    """Look whether this host does what the plugin needs; each finding says what to do.

    Ends with 1 when something fails; warnings alone end with 0.
    """
    where = Where(root, pool)
    if deep:
        click.echo("starting CUDA and the simulator ...", err=True)
    checks = (*CHECKS, look_deeper) if deep else CHECKS
    findings = [finding for check in checks for finding in check(where)]
    if as_json:
        click.echo(msgspec.json.encode(Findings(findings)))
    else:
        show(findings)
    failed = any(finding.level == "fail" for finding in findings)
    ctx.exit(Exit.FINDINGS if failed else Exit.FINE)
