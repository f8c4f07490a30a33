"""What is kept of each test of this process while the run goes on, in memory that outlives the process.

It needs neither a living controller nor an orderly end: what was known is on disk when a test is over. The
times of all tests are on a sheet; of those that did not simply pass there is more, in a journal.
"""

from __future__ import annotations

import os
from itertools import compress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.verdict import ATTRIBUTE
from pytest_gpuguard.report.journal import Journal
from pytest_gpuguard.report.places import JOURNALS, SHEET
from pytest_gpuguard.report.sheet import Sheet, columns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pytest_gpuguard.report.gathered import Columns

__all__ = ["Keeping"]


class Keeping(Plug):
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
        # Behind those that were collected comes a row for whatever was made since, and behind that none.
        self._items: list[pytest.Item | None] = [None, None]
        self._ids = [""]
        self._sheet = Sheet(None, 1)
        self._spare = 0
        # By identity, since pytest works out the hash of an item each time; the items above are kept, or
        # another one could get the identity of one that is gone. Made when tests do not come in order.
        self._rows: dict[int, int] = {}
        # Whether the tests went back once, so that the next one may have been run before.
        self._back = False
        # Of the test that began last; before the first row.
        self._row, self._begun = -1, 0.0
        self._asked = self._row, self._begun
        #: Told of the end of each test that did not simply pass: node id, start, stop, outcome, payload.
        self.tell: Callable[[str, float, float, str, dict[str, Any]], object] = lambda *_: None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = [*session.items, None, None]
        self._rows = {}
        ids = [item.nodeid for item in session.items]
        self._ids, self._spare = [*ids, ""], len(ids)
        self._sheet = Sheet(self._path and self._path.with_suffix(SHEET), len(self._ids))
        self._journal.write(tests=ids)

    # Both are done for every test of a suite: each line is counted.

    def begin(self, item: pytest.Item, now: float) -> str:
        """Note that a test begins, or is run again; return its node id."""
        row = self._row + 1
        if self._back or self._items[row] is not item:
            row = self._row_of(item, now)
        self._row, self._begun = row, now - self._started
        self._sheet.times[2 * row] = self._begun
        return self._ids[row]

    def _row_of(self, item: pytest.Item, now: float) -> int:
        """Return the row of a test that is not the next one, or is run again."""
        if not self._rows:
            self._rows = {id(item): row for row, item in enumerate(self._items)}
        row = self._rows.get(id(item), self._spare)
        if row == self._spare:
            self._ids[row] = item.nodeid
            self._journal.write(begin=item.nodeid, at=now - self._started)
            return row
        self._back |= row <= self._row
        times = self._sheet.times
        if times[2 * row]:
            # The row is for the last run of it alone.
            self._write(self._ids[row], times[2 * row], times[2 * row + 1], "passed", {})
            times[2 * row + 1] = 0.0
        return row

    def end(self, now: float, outcome: str, payload: dict[str, Any]) -> None:
        """Note how the running test ended."""
        row, ended = self._row, now - self._started
        if payload or outcome != "passed" or row == self._spare:
            self._write(self._ids[row], self._begun, ended, outcome, payload)
        self._sheet.times[2 * row + 1] = ended

    def _write(self, nodeid: str, start: float, at: float, outcome: str, payload: dict[str, Any]) -> None:
        said = self._changed(payload)
        self._journal.write(end=nodeid, start=start, at=at, outcome=outcome, payload=said)
        self.tell(nodeid, start, at, outcome, payload)

    def ended(self) -> Columns:
        """Return node ids, starts and stops of the tests that have ended, as far as the sheet tells.

        Nothing, where none has begun since the last question after the last end.
        """
        times, asked = self._sheet.times, (self._row, self._begun)
        if asked == self._asked:
            return (), (), ()
        if self._row < 0 or times[2 * self._row + 1]:
            self._asked = asked
        starts, stops = columns(times[: 2 * self._spare])
        return list(compress(self._ids, stops)), list(compress(starts, stops)), list(filter(None, stops))

    def _changed(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what is not as it was said last."""
        changed = {name: value for name, value in payload.items() if self._said.get(name) != value}
        self._said |= {name: payload[name] for name in ("counts", "process") if name in payload}
        return changed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        output = getattr(session.config, "workeroutput", {})
        at = round(clock.monotonic() - self._started, 4)
        self._journal.write(over=self._worker, pid=self._pid, at=at, payload=output.get(ATTRIBUTE, {}))
        self._journal.close()
        return result
