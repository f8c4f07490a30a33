"""What a run leaves beside its record: the page, the trace, and what GitHub shows of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.report.model import RunReport

__all__ = ["views", "workflow_commands", "write_step_summary"]


def views(report: RunReport) -> dict[str, str]:
    """Return the files of an export, but for the record itself."""
    from pytest_gpuguard.report.html import page
    from pytest_gpuguard.report.trace import trace

    return {"index.html": page(report), "trace.json": trace(report).decode()}


def write_step_summary(report: RunReport, environ: Mapping[str, str] = os.environ) -> None:
    """Append the summary to the file that GitHub names, if it names one.

    Raises
    ------
    OSError
    """
    path = environ.get("GITHUB_STEP_SUMMARY")
    if path:
        from pytest_gpuguard.report.markdown import step_summary

        with Path(path).open("a", encoding="utf-8") as file:
            file.write(step_summary(report))


def workflow_commands(report: RunReport, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return annotations where GitHub runs the tests."""
    if not environ.get("GITHUB_ACTIONS"):
        return []
    from pytest_gpuguard.report.annotations import annotate

    return annotate(report)
