"""A plugin of the inner runs (``-p recorder``): writes what became of each test, as the reports say it."""

from __future__ import annotations

import json
import os
from pathlib import Path

_PHASES: list[dict[str, object]] = []


def pytest_runtest_logreport(report):
    _PHASES.append(
        {
            "nodeid": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "xfail": hasattr(report, "wasxfail"),
            "text": report.longreprtext,
            "sections": [list(section) for section in report.sections],
        }
    )


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        Path(os.environ["RECORD"]).write_text(json.dumps(_PHASES), encoding="utf-8")
