"""What to paste into an issue: versions, devices, and the settings that differ from their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.report.lines import printable
from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.report.model import RunReport

__all__ = ["environment"]


def environment(report: RunReport) -> str:
    """Return it as plain text, a line a fact."""
    return "\n".join(printable(line) for line in _lines(report))


def _lines(report: RunReport) -> Iterator[str]:
    run = report.run
    yield f"{report.tool} {report.version}, record {report.schema_version}"
    yield f"python {run.python} on {run.platform}"
    yield from (f"{package} {version}" for package, version in run.versions.items())
    for device in report.devices:
        size = f", {format_bytes(device.total_bytes)}" if device.total_bytes else ""
        driver = f", driver {device.driver}" if device.driver else ""
        yield f"device {device.index}: {device.name} ({device.mode}){size}{driver}"
    if not report.devices:
        yield "no device was asked for"
    yield f"pytest {' '.join(run.argv)}"
    for name, setting in report.settings.items():
        if setting.source != "default":
            yield f"{name} = {setting.value} ({setting.source})"
    yield from (f"budget {name} = {amount_text(name, limit)}" for name, limit in report.limits.items())
    if run.ci is not None:
        yield " ".join(filter(None, ("CI", run.ci.provider, run.ci.ref, run.ci.sha, run.ci.url)))
    yield from (f"note: {note}" for note in report.notes)
