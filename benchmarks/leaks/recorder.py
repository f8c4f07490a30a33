"""A plugin for the runs of the benchmark: writes the truth of the suite and what became of each test.

``SEEDED_RECORD`` names the file; ``SEEDED_MARK`` a mark, with its arguments as JSON, that every test gets:
some tools watch only what is marked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


class Recorder:
    """Collects reports in the process that sums up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cases: list[dict[str, Any]] = []
        self._reports: list[dict[str, str]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the marks."""
        for item in items:
            mark = item.get_closest_marker("planted")
            role = "planted" if mark else "clean" if item.get_closest_marker("clean") else "bystander"
            self._cases.append({"nodeid": item.nodeid, "role": role} | (dict(mark.kwargs) if mark else {}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what failed, with all that was said."""
        if report.failed:
            text = "\n".join([report.longreprtext, *(text for _, text in report.sections)])
            self._reports.append({"nodeid": report.nodeid, "when": report.when or "", "text": text})

    def pytest_sessionfinish(self) -> None:
        """Write it."""
        self._path.write_text(json.dumps({"cases": self._cases, "failures": self._reports}))


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder where the run is summed up, and the tool's mark where the tool does not."""
    if given := os.environ.get("SEEDED_MARK"):
        config.addinivalue_line("markers", f"{json.loads(given)[0]}: what the tool watches")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(os.environ["SEEDED_RECORD"])))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tool's mark on every test."""
    if given := os.environ.get("SEEDED_MARK"):
        name, args, kwargs = json.loads(given)
        for item in items:
            item.add_marker(getattr(pytest.mark, name)(*args, **kwargs))
