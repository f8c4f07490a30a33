"""The journals while a run goes on: of each process in which tests run, and of the one that sums up.

They need neither a living controller nor an orderly end: what was known is on disk when a test is over.
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring_ascii
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
        self._journal = Journal(folder / JOURNALS / f"{worker}-{self._pid}.jsonl")
        # Once: what follows is of this process, and as short as can be for a test that passes.
        self._journal.write(of=worker, pid=self._pid)
        self._said: dict[str, Any] = {}

    def begin(self, nodeid: str, at: float) -> None:
        """Note that a test begins."""
        self._journal.line(f'{{"begin":{encode_basestring_ascii(nodeid)},"at":{at:.4f}}}\n')

    def end(self, nodeid: str, start: float, at: float, outcome: str, payload: dict[str, Any]) -> None:
        """Note how a test ended."""
        if payload or outcome != "passed":
            payload = self._changed(payload)
            self._journal.write(end=nodeid, start=start, at=at, outcome=outcome, payload=payload)
            return
        self._journal.line(f'{{"passed":{at:.4f}}}\n')

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
