"""The Chrome trace: what the format asks for, and every test, wait and level in it."""

from __future__ import annotations

import json

import msgspec
import pytest

from pytest_gpuguard.report.model import Levels, Wait
from pytest_gpuguard.report.trace import trace
from tests.golden.record import read
from tests.helpers.hostile import renamed

REPLACE = msgspec.structs.replace


def _events(report):
    return json.loads(trace(report))["traceEvents"]


def _of(events, kind):
    return [event for event in events if event["ph"] == kind]


def test_each_test_is_a_slice_of_its_lane():
    report = read()
    events = _events(report)
    lanes = {
        event["tid"]: event["args"]["name"] for event in _of(events, "M") if event["name"] == "thread_name"
    }
    slices = _of(events, "X")
    assert [event["args"]["nodeid"] for event in slices] == [span.nodeid for span in report.tests]
    assert {lanes[event["tid"]] for event in slices} == {"main"}
    assert all(event["dur"] > 0 and event["ts"] >= 0 for event in slices)


def test_what_was_held_and_who_waited_are_counters():
    report = REPLACE(
        read(),
        levels=[Levels("main", "pinned", [0.5, 1.0], [8, 0])],
        waits=[Wait("t", "main", {"pinned": 8}, 0.1, 0.5, "granted", ["gw1"])],
    )
    counters = [(event["name"], event["ts"], event["args"]) for event in _of(_events(report), "C")]
    assert counters == [
        ("pinned held", 500_000, {"held": 8}),
        ("pinned held", 1_000_000, {"held": 0}),
        ("waiting for a lease", 100_000, {"tests": 1}),
        ("waiting for a lease", 500_000, {"tests": 0}),
    ]


def test_leaks_and_deaths_are_marks():
    said = [event["name"] for event in _of(_events(read()), "i")]
    assert sum(name.startswith("leak: ") for name in said) == 6
    assert sum(name.startswith("died: RuntimeError") for name in said) == 1


@pytest.mark.parametrize("text", ["</script>", "a\x00", "w" * 3000])
def test_every_event_has_what_the_format_asks_for(text):
    for event in _events(renamed(read(), text)):
        assert event["ph"] in {"M", "X", "i", "C"}
        assert event["pid"] == 1
        assert isinstance(event["name"], str)
        assert event["ph"] == "M" or isinstance(event["ts"], int)
