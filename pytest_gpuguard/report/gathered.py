"""What the tests' processes send, collected while the run goes on: the memory of whoever sums up.

A payload is a dictionary of plain values by the names of the record: ``leaks``, ``deaths``, ``stalls``,
``waits``, ``faults``, ``devices``, ``notes``; ``limits`` and ``levels`` of the budget; ``facts`` of the test
that it came with. What is missing is taken for empty.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pytest_gpuguard.report.model import (
    Death,
    Device,
    Fault,
    Leak,
    Levels,
    Probe,
    Stall,
    TestSpan,
    Wait,
    Worker,
)
from pytest_gpuguard.report.subjects import known_subject
from pytest_gpuguard.units import each_rounded, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

__all__ = ["HERE", "Columns", "Gathered", "Payload", "leaks_of"]

#: The name of the process that sums up, where tests run in it.
HERE = "main"

#: What a test's process sends: lists of plain values by name, such as ``leaks`` and ``waits``.
Payload = dict[str, Any]

#: Node ids, starts and stops of tests, in seconds since the run's start.
Columns = tuple["Sequence[str]", "Sequence[float]", "Sequence[float]"]

_Kind = TypeVar("_Kind")


def leaks_of(entries: Iterable[Payload]) -> list[Leak]:
    """Return the leaks of a payload; kinds that are not known here are kept by their fields."""
    return msgspec.convert(
        [entry | {"subject": known_subject(entry["subject"])} for entry in entries], list[Leak]
    )


def _read(payload: Payload, name: str, kind: type[_Kind]) -> list[_Kind]:
    entries = payload.get(name)
    return msgspec.convert(entries, list[kind]) if entries else []  # type: ignore[valid-type]


class Gathered:
    """Everything that was sent so far."""

    def __init__(self) -> None:
        self.leaks: list[Leak] = []
        self.deaths: list[Death] = []
        self.stalls: list[Stall] = []
        self.waits: list[Wait] = []
        self.faults: list[Fault] = []
        self.devices: dict[str, Device] = {}
        self.limits: dict[str, int] = {}
        self.notes: dict[str, None] = {}
        self.workers: dict[str, Worker] = {}
        # By worker and node id.
        self._tests: dict[str, dict[str, TestSpan]] = defaultdict(dict)
        #: Of tests of which nothing else is to be told: node id, worker, start and stop, one after the other.
        self.passed: list[Any] = []
        #: Returns the same of the tests of this process that are news: their node ids, starts and stops.
        self.here: Callable[[], Columns] = lambda: ((), (), ())
        self.counts: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._levels: dict[tuple[str, str], Levels] = {}

    def add(self, payload: Payload) -> list[Leak]:
        """Take one payload; return its leaks."""
        # What is not there is not looked at: to learn how its class is read takes longer than all the rest.
        leaks = leaks_of(payload["leaks"]) if payload.get("leaks") else []
        self.leaks += leaks
        self.deaths += _read(payload, "deaths", Death)
        self.stalls += _read(payload, "stalls", Stall)
        self.waits += _read(payload, "waits", Wait)
        self.faults += _read(payload, "faults", Fault)
        for device in _read(payload, "devices", Device):
            self.add_device(device)
        self.limits |= payload.get("limits", {})
        self.notes |= dict.fromkeys(payload.get("notes", []))
        for worker, resource, at, amount in payload.get("levels", []):
            self.add_level(worker, resource, at, amount)
        return leaks

    def add_device(self, device: Device) -> None:
        """Take a device; several processes may use the same one."""
        before = self.devices.get(device.uuid, device)
        workers = sorted({*before.workers, *device.workers})
        self.devices[device.uuid] = msgspec.structs.replace(device, workers=workers)

    def add_level(self, worker: str, resource: str, at: float, amount: int) -> None:
        """Take how much of a resource a worker holds from a moment on."""
        series = self._levels.setdefault((worker, resource), Levels(worker, resource, [], []))
        series.at.append(round(at, 4))
        series.amount.append(amount)

    def add_counts(self, worker: str, counts: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the running totals of one process by kind; later totals replace earlier ones."""
        self.counts[worker] = counts

    def add_process(self, process: Payload) -> Worker:
        """Take what a process says of itself; its times are known from its tests."""
        worker = msgspec.convert(process, Worker)
        before = self.workers.get(worker.id)
        if before is not None:
            worker.started = before.started if worker.started is None else worker.started
            worker.finished = before.finished
            worker.end, worker.error = before.end, before.error
        self.workers[worker.id] = worker
        return worker

    def add_phase(
        self, nodeid: str, worker: str, start: float, stop: float, outcome: str, facts: Payload | None = None
    ) -> TestSpan:
        """Take the end of one phase of a test; the worst outcome of its phases counts."""
        # For each test, twice where workers report: every object that is not made here counts, most of all
        # such that the collector follows.
        if self.passed:
            self._file()
        tests = self._tests[worker]
        span = tests.get(nodeid)
        if span is None:
            span = tests[nodeid] = TestSpan(nodeid, worker, rounded(start), rounded(stop), outcome)
            if not facts:
                return span
        elif span.outcome == "passed" or outcome == "failed":
            span.outcome = outcome
        span.stop = max(span.stop, rounded(stop))
        if facts:
            for name, value in facts.items():
                setattr(span, name, value)
        return span

    def _file(self) -> None:
        """Put what has passed among the others: all at once, which is cheaper than one after each test."""
        passed, self.passed = iter(self.passed), []
        for nodeid, worker, start, stop in zip(passed, passed, passed, passed, strict=True):
            self.add_phase(nodeid, worker, start, stop, "passed")

    @property
    def tests(self) -> Collection[TestSpan]:
        """What is known of each test."""
        self._file()
        self._take_those_here()
        return [span for tests in self._tests.values() for span in tests.values()]

    def _take_those_here(self) -> None:
        # Without a line of Python for each test: these are nearly all of a suite.
        ids, starts, stops = self.here()
        spans = map(TestSpan, ids, repeat(HERE), each_rounded(starts), each_rounded(stops), repeat("passed"))
        here, news = self._tests[HERE], dict(zip(ids, spans, strict=True))
        for nodeid in here.keys() & news.keys():
            # More is known of it. Or it was run again.
            here[nodeid].stop = max(here[nodeid].stop, news.pop(nodeid).stop)
        here |= news

    def test(self, nodeid: str, worker: str) -> TestSpan | None:
        """Return what is known of one test, as of the last time that somebody asked for all."""
        return self._tests[worker].get(nodeid)

    def levels(self) -> list[Levels]:
        """Return what was held over time, by resource and worker."""
        for series in self._levels.values():
            worker = self.workers.get(series.worker)
            if worker is not None and worker.end in {"crashed", "killed"} and series.amount[-1]:
                self._end(series)
        return [self._levels[key] for key in sorted(self._levels, key=lambda key: key[::-1])]

    def _end(self, series: Levels) -> None:
        """End what a worker held that died before it could say that it gave it back."""
        spans = (span for span in self.tests if span.worker == series.worker)
        ends = [span.stop for span in spans if span.stop >= series.at[-1]]
        series.at.append(min(ends, default=series.at[-1]))
        series.amount.append(0)

    def probes(self) -> list[Probe]:
        """Return what was watched over all processes, by kind."""
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        unable: dict[str, str] = {}
        for counts in self.counts.values():
            for kind, numbers in counts.items():
                totals[kind].update(
                    seen=numbers["seen"], known=numbers["known"], stood=numbers.get("stood", 0)
                )
                if numbers.get("unable"):
                    unable[kind] = numbers["unable"]
        return [
            Probe(kind, numbers["seen"], numbers["known"], unable.get(kind), numbers["stood"])
            for kind, numbers in totals.items()
        ]
