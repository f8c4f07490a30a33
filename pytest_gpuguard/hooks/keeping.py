"""The journals while a run goes on: of each process in which tests run, and of the one that sums up.

They need neither a living controller nor an orderly end: what was known is on disk when a test is over.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.verdict import ATTRIBUTE
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
        self._worker, self._started, self._pid = worker, started, os.getpid()
        self._quoted = json.JSONEncoder().encode
        self._who = f'"worker":{self._quoted(worker)},"pid":{self._pid}'
        self._name = ""
        self._journal = Journal(folder / JOURNALS / f"{worker}-{self._pid}.jsonl")
        self._said: dict[str, Any] = {}

    def begin(self, nodeid: str, at: float) -> None:
        """Note that a test begins."""
        # By hand, and the name made once: this line and that of a test which has passed are for every test.
        self._name = name = self._quoted(nodeid)
        self._journal.line(f'{{"begin":{name},{self._who},"at":{at:.4f}}}')

    def end(self, nodeid: str, start: float, at: float, outcome: str, payload: dict[str, Any]) -> None:
        """Note how a test ended."""
        if payload or outcome != "passed":
            payload = self._changed(payload)
            self._journal.write(
                end=nodeid, worker=self._worker, start=start, at=at, outcome=outcome, payload=payload
            )
            return
        self._journal.line(
            f'{{"end":{self._name},{self._who},"start":{start:.4f},"at":{at:.4f},"outcome":"passed"}}'
        )

    def _changed(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what is not as it was said last."""
        changed = {name: value for name, value in payload.items() if self._said.get(name) != value}
        self._said |= {name: payload[name] for name in ("counts", "process") if name in payload}
        return changed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        output = getattr(session.config, "workeroutput", {})
        at = round(time.monotonic() - self._started, 4)
        self._journal.write(over=self._worker, pid=self._pid, at=at, payload=output.get(ATTRIBUTE, {}))
        self._journal.close()
        return result
