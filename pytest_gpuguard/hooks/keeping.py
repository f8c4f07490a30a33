"""The journals while a run goes on: of each process in which tests run, and of the one that sums up.

They need neither a living controller nor an orderly end: what was known is on disk when a test is over.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.guard import ATTRIBUTE
from pytest_gpuguard.report.journal import Journal
from pytest_gpuguard.report.places import JOURNALS

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["Keeping"]


class Keeping:
    """Writes when a test begins and, once it was judged, all that is to be known of it.

    Parameters
    ----------
    folder
        Of the run.
    worker
        Name of this process.
    started
        The run's start in monotonic seconds.
    """

    def __init__(self, folder: Path, worker: str, started: float) -> None:
        self._worker, self._started = worker, started
        self._journal = Journal(folder / JOURNALS / f"{worker}-{os.getpid()}.jsonl")
        self._begun, self._outcome = 0.0, "passed"
        self._said: dict[str, Any] = {}

    def _now(self) -> float:
        return round(time.monotonic() - self._started, 4)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._begun, self._outcome = self._now(), "passed"
        self._journal.write(begin=nodeid, worker=self._worker, pid=os.getpid(), at=self._begun)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._outcome == "passed" or report.failed:
            self._outcome = str(report.outcome)
        if report.when == "teardown":
            payload = self._changed(getattr(report, ATTRIBUTE, {}))
            self._journal.write(
                end=report.nodeid,
                worker=self._worker,
                start=self._begun,
                at=self._now(),
                outcome=self._outcome,
                payload=payload,
            )

    def _changed(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what is not as it was said last: of most tests there is nothing to say."""
        changed = {name: value for name, value in payload.items() if self._said.get(name) != value}
        self._said |= {name: payload[name] for name in ("counts", "process") if name in payload}
        return changed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        output = getattr(session.config, "workeroutput", {})
        self._journal.write(
            over=self._worker, pid=os.getpid(), at=self._now(), payload=output.get(ATTRIBUTE, {})
        )
        self._journal.close()
        return result
