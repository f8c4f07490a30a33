"""The record as a Chrome trace, which Perfetto opens: a lane a worker, counters above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard.report.levels import resources, total
from pytest_gpuguard.report.lines import printable, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.report.model import RunReport

__all__ = ["trace"]

_RUN = 1  # the one process of the trace
Event = dict[str, Any]


def trace(report: RunReport) -> bytes:
    """Return the trace as JSON; its times are whole microseconds."""
    return msgspec.json.encode(
        {
            "displayTimeUnit": "ms",
            "otherData": {
                "tool": report.tool,
                "run": report.run.id,
                "started": report.run.started,
                "version": report.version,
            },
            "traceEvents": [*_lanes(report), *_tests(report), *_marks(report), *_counters(report)],
        }
    )


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _tids(report: RunReport) -> dict[str, int]:
    names = {worker.id for worker in report.workers} | {span.worker for span in report.tests}
    return {name: number for number, name in enumerate(sorted(names, key=lambda name: (len(name), name)), 1)}


def _lanes(report: RunReport) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": _RUN, "args": {"name": f"pytest {report.run.id}"}}
    for name, tid in _tids(report).items():
        yield {"ph": "M", "name": "thread_name", "pid": _RUN, "tid": tid, "args": {"name": name}}


def _tests(report: RunReport) -> Iterator[Event]:
    tids = _tids(report)
    for span in (*report.tests, *report.unfinished):
        args = {
            "nodeid": printable(span.nodeid),
            "outcome": span.outcome,
            "leaks": span.leak_ids,
            "waited_s": span.waited_s,
            "reserved": span.reserved or {},
        }
        yield {
            "ph": "X",
            "cat": f"test,{span.outcome}",
            "name": printable(short(span.nodeid)),
            "pid": _RUN,
            "tid": tids.get(span.worker, 0),
            "ts": _us(span.start),
            "dur": max(1, _us(span.stop) - _us(span.start)),
            "args": {name: value for name, value in args.items() if value},
        }
    for wait in report.waits:
        yield {
            "ph": "X",
            "cat": f"wait,{wait.end}",
            "name": "waits for its lease",
            "pid": _RUN,
            "tid": tids.get(wait.worker, 0),
            "ts": _us(wait.began),
            "dur": max(1, _us(wait.ended) - _us(wait.began)),
            "args": {"for": printable(wait.nodeid), "behind": wait.blocked_by} | wait.amounts,
        }


def _marks(report: RunReport) -> Iterator[Event]:
    """Yield an instant for each leak, fault, dead thread and crash."""
    tids = _tids(report)
    found = [
        (leak.worker, leak.found_at, f"leak: {leak.title}", group.fingerprint)
        for group in report.groups
        for leak in group.leaks
    ]
    found += [
        (fault.worker, fault.at, f"{fault.kind}: {fault.error}", fault.nodeid) for fault in report.faults
    ]
    found += [(death.worker, death.at, f"died: {death.error}", death.nodeid) for death in report.deaths]
    found += [
        (worker.id, worker.finished, worker.end, worker.error)
        for worker in report.workers
        if worker.end in {"crashed", "killed"} and worker.finished is not None
    ]
    for name, at, said, more in found:
        tid = tids.get(name, 0)
        args = {"more": printable(more)}
        yield {
            "ph": "i",
            "s": "t",
            "name": printable(said),
            "pid": _RUN,
            "tid": tid,
            "ts": _us(at),
            "args": args,
        }


def _counters(report: RunReport) -> Iterator[Event]:
    for resource in resources(report.levels):
        name = f"{printable(resource)} held"
        for at, amount in total(report.levels, resource):
            yield {"ph": "C", "name": name, "pid": _RUN, "ts": _us(at), "args": {"held": amount}}
    waiting = 0
    changes = [change for wait in report.waits for change in ((wait.began, 1), (wait.ended, -1))]
    for at, change in sorted(changes):
        waiting += change
        yield {
            "ph": "C",
            "name": "waiting for a lease",
            "pid": _RUN,
            "ts": _us(at),
            "args": {"tests": waiting},
        }
