"""What is kept of each test of this process while the run goes on, in memory that outlives the process.

It needs neither a living controller nor an orderly end: what was known is on disk when a test is over. The
times of all tests are on a sheet; of those that did not simply pass there is more, in a journal.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.verdict import ATTRIBUTE
from pytest_gpuguard.report.journal import Journal
from pytest_gpuguard.report.places import JOURNALS, SHEET
from pytest_gpuguard.report.sheet import Sheet, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

__all__ = ["Keeping"]


class Keeping:
    """Notes when a test begins and ends and, once it was judged, all else that is to be known of it.

    Parameters
    ----------
    folder
        Of the run; None where it cannot be reached.
    worker
        Name of this process.
    started
        The run's start in monotonic seconds.
    """

    def __init__(self, folder: Path | None, worker: str, started: float) -> None:
        self._worker, self._started, self._pid = worker, started, os.getpid()
        self._path = None if folder is None else folder / JOURNALS / f"{worker}-{self._pid}.jsonl"
        self._journal = Journal(self._path)
        # Once: what follows is of this process.
        self._journal.write(of=worker, pid=self._pid)
        self._said: dict[str, Any] = {}
        # By identity, since pytest works out the hash of an item each time, and its node id. The items are
        # kept, or another one could get the identity of one that is gone.
        self._items: list[pytest.Item] = []
        self._places: dict[int, int] = {}
        self._ids: list[str] = []
        self._sheet = Sheet(None, 0)
        # The test that began last: place on the sheet, -1 where it has none, node id, and when it began.
        self._at, self._nodeid, self._begun = -1, "", 0.0
        self._asked = self._at, self._begun
        #: Told of the end of each test that did not simply pass: node id, start, stop, outcome, payload.
        self.tell: Callable[[str, float, float, str, dict[str, Any]], object] = lambda *_: None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = list(session.items)
        self._places = {id(item): 2 * row for row, item in enumerate(self._items)}
        self._ids = [item.nodeid for item in self._items]
        self._sheet = Sheet(self._path and self._path.with_suffix(SHEET), len(self._ids))
        self._journal.write(tests=self._ids)

    # Both are done for every test of a suite: each line is counted.

    def begin(self, item: pytest.Item, now: float) -> str:
        """Note that a test begins, or is run again; return its node id."""
        at = self._at = self._places.get(id(item), -1)
        begun = self._begun = now - self._started
        if at < 0:
            # It was made since, and has no place.
            nodeid = self._nodeid = item.nodeid
            self._journal.write(begin=nodeid, at=begun)
            return nodeid
        nodeid, times = self._ids[at >> 1], self._sheet.times
        self._nodeid = nodeid
        if times[at]:
            # The place is for the last run of it alone.
            self._write(times[at], times[at + 1], "passed", {})
            times[at + 1] = 0.0
        times[at] = begun
        return nodeid

    def end(self, now: float, outcome: str, payload: dict[str, Any]) -> None:
        """Note how the running test ended."""
        at, ended = self._at, now - self._started
        if payload or at < 0 or outcome != "passed":
            self._write(self._begun, ended, outcome, payload)
        if at >= 0:
            self._sheet.times[at + 1] = ended

    def _write(self, start: float, at: float, outcome: str, payload: dict[str, Any]) -> None:
        said = self._changed(payload)
        self._journal.write(end=self._nodeid, start=start, at=at, outcome=outcome, payload=said)
        self.tell(self._nodeid, start, at, outcome, payload)

    def ended(self) -> Iterator[tuple[str, float, float]]:
        """Yield node id, start and stop of each test that has ended, as far as the sheet tells.

        Nothing, where none has begun since the last question after the last end.
        """
        times, asked = self._sheet.times, (self._at, self._begun)
        if asked == self._asked:
            return
        if self._at < 0 or times[self._at + 1]:
            self._asked = asked
        for nodeid, (start, stop) in zip(self._ids, pairs(times), strict=True):
            if stop:
                yield nodeid, start, stop

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
