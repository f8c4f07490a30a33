"""A run without a record, because it goes on or was cut off, put together from its journals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard.report.build import Gathered, build
from pytest_gpuguard.report.journal import entries
from pytest_gpuguard.report.model import Run, RunReport, Setting, TestSpan, Worker
from pytest_gpuguard.report.places import CONTROLLER, HEAD, JOURNALS, SHEET
from pytest_gpuguard.report.reading import UnreadableError
from pytest_gpuguard.report.sheet import columns, times_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["assemble"]


def assemble(folder: Path, *, alive: bool) -> RunReport:
    """Return what the journals in ``folder`` say.

    Raises
    ------
    UnreadableError
        When even the run's head cannot be read.
    """
    try:
        head = json.loads((folder / HEAD).read_bytes())
        run = msgspec.convert(head["run"], Run)
        settings = msgspec.convert(head["settings"], dict[str, Setting])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{folder / HEAD} cannot be read: {error}"
        raise UnreadableError(message) from None
    gathered, read = Gathered(), _Reader()
    journals = (folder / JOURNALS).glob("*.jsonl")
    for path in sorted(journals, key=lambda path: (path.name == CONTROLLER, path.name)):
        read.journal(gathered, entries(path), times_in(path.with_suffix(SHEET)))
    unfinished = sorted(read.open.values(), key=lambda span: span.start)
    times = [span.stop for span in (*gathered.tests, *unfinished)]
    run = msgspec.structs.replace(
        run, end="running" if alive else "cut off", duration_s=max(times, default=0.0), exit_status=-1
    )
    report = build(gathered, run, settings)
    for worker in report.workers:
        if worker.end == "ok" and worker.finished is None and not alive:
            worker.end = "open"
    return msgspec.structs.replace(report, unfinished=unfinished)


class _Reader:
    """Reads the entries of all journals; ``open`` are the tests that have begun and not ended."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], TestSpan] = {}
        self._worker, self._pid = "", 0
        self._tests: list[str] = []

    def journal(self, gathered: Gathered, lines: Iterable[dict[str, Any]], times: memoryview[float]) -> None:
        """Take one journal, whose first entry says whose it is, and the sheet beside it."""
        self._worker, self._pid, self._tests = "", 0, []
        for entry in lines:
            self._entry(gathered, entry)
        # Now it is known which runs of a test have ended before the one whose times these are.
        for test, start, stop in zip(self._tests, *columns(times), strict=False):
            if start:
                self._opened(gathered, test, start)
            if stop:
                del self.open[test, self._worker]
                gathered.add_phase(test, self._worker, start, stop, "passed")

    def _entry(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        """Take one entry; one that this version does not know, or cannot read, is passed over."""
        known = {
            "of": self._of,
            "begin": self._begin,
            "tests": self._named,
            "end": self._end,
            "over": self._over,
            "down": self._down,
        }
        try:
            for name, take in known.items():
                if name in entry:
                    take(gathered, entry)
        except (KeyError, TypeError, AttributeError, msgspec.ValidationError):
            return

    def _of(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        del gathered
        self._worker, self._pid = entry["of"], entry["pid"]

    def _begin(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        self._opened(gathered, entry["begin"], entry["at"])

    def _opened(self, gathered: Gathered, nodeid: str, at: float) -> None:
        worker = gathered.workers.setdefault(self._worker, Worker(self._worker, self._pid, started=at))
        worker.started = at if worker.started is None else min(at, worker.started)
        self.open[nodeid, self._worker] = TestSpan(nodeid, self._worker, at, at, "unfinished")

    def _named(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        del gathered
        self._tests = msgspec.convert(entry["tests"], list[str])

    def _end(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        nodeid, worker, payload = entry["end"], self._worker, entry.get("payload", {})
        self.open.pop((nodeid, worker), None)
        span = gathered.add_phase(
            nodeid, worker, entry["start"], entry["at"], entry["outcome"], payload.get("facts")
        )
        span.leak_ids += tuple(leak.id for leak in gathered.add(payload))
        if "process" in payload:
            gathered.add_process(payload["process"])
        if "counts" in payload:
            gathered.add_counts(worker, payload["counts"])

    def _over(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        gathered.add(entry.get("payload", {}))
        worker = gathered.workers.setdefault(entry["over"], Worker(entry["over"], entry.get("pid", 0)))
        worker.finished = entry["at"]

    def _down(self, gathered: Gathered, entry: dict[str, Any]) -> None:
        worker = gathered.workers.setdefault(entry["down"], Worker(entry["down"], 0))
        worker.end, worker.error, worker.finished = "crashed", entry.get("error", ""), entry["at"]
        for (nodeid, name), span in list(self.open.items()):
            if name == worker.id:
                del self.open[nodeid, name]
                gathered.add_phase(nodeid, name, span.start, entry["at"], "failed")
