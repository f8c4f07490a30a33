"""When tests began and ended, in whatever order they are run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pytest_gpuguard.hooks.keeping import Keeping
from pytest_gpuguard.report.places import JOURNALS
from pytest_gpuguard.report.sheet import times_in


@pytest.fixture
def items():
    return [SimpleNamespace(nodeid=name) for name in "abcd"]


@pytest.fixture
def told():
    return []


@pytest.fixture
def keeping(tmp_path, items, told):
    keeping = Keeping(tmp_path, "gw0", 100.0)
    keeping.tell = lambda nodeid, start, stop, outcome, payload: told.append((nodeid, start, stop, outcome))
    keeping.pytest_collection_finish(SimpleNamespace(items=items))
    return keeping


def _run(keeping, item, at, outcome="passed"):
    assert keeping.begin(item, 100.0 + at) == item.nodeid
    keeping.end(100.0 + at + 0.5, outcome, {})


def _ended(keeping):
    return list(zip(*keeping.ended(), strict=True))


def test_in_order_nothing_is_told_but_what_did_not_pass(keeping, items, told):
    for at, item in enumerate(items):
        _run(keeping, item, at + 1, "failed" if item.nodeid == "c" else "passed")
    assert told == [("c", 3.0, 3.5, "failed")]
    assert _ended(keeping) == [("a", 1.0, 1.5), ("b", 2.0, 2.5), ("c", 3.0, 3.5), ("d", 4.0, 4.5)]
    assert _ended(keeping) == []


def test_in_another_order_each_has_its_own_times(keeping, items):
    for at, place in enumerate((2, 0, 3, 1)):
        _run(keeping, items[place], at + 1)
    assert _ended(keeping) == [("a", 2.0, 2.5), ("b", 4.0, 4.5), ("c", 1.0, 1.5), ("d", 3.0, 3.5)]


def test_of_what_is_run_again_the_run_before_is_told(keeping, items, told):
    for at, place in enumerate((0, 1, 0, 1, 2)):
        _run(keeping, items[place], at + 1)
    assert told == [("a", 1.0, 1.5, "passed"), ("b", 2.0, 2.5, "passed")]
    assert _ended(keeping) == [("a", 3.0, 3.5), ("b", 4.0, 4.5), ("c", 5.0, 5.5)]


def test_one_that_runs_again_has_not_ended(keeping, items):
    _run(keeping, items[0], 1)
    keeping.begin(items[0], 102.0)
    assert _ended(keeping) == []
    keeping.end(102.5, "passed", {})
    assert _ended(keeping) == [("a", 2.0, 2.5)]


def test_what_was_made_since_is_told_beside_the_rows(keeping, items, told, tmp_path):
    made = [SimpleNamespace(nodeid=name) for name in "xy"]
    for at, item in enumerate((items[0], *made, items[1], items[2])):
        _run(keeping, item, at + 1)
    assert told == [("x", 2.0, 2.5, "passed"), ("y", 3.0, 3.5, "passed")]
    assert _ended(keeping) == [("a", 1.0, 1.5), ("b", 4.0, 4.5), ("c", 5.0, 5.5)]
    (journal,) = (tmp_path / JOURNALS).glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_bytes().split(b"\n") if line.strip(b"\0")]
    assert [line["begin"] for line in lines if "begin" in line] == ["x", "y"]
    assert times_in(journal.with_suffix(".times")).tolist()[:6] == [1.0, 1.5, 4.0, 4.5, 5.0, 5.5]


def test_before_anything_is_collected_each_is_told():
    keeping, told = Keeping(None, "gw0", 0.0), []
    keeping.tell = lambda nodeid, *_: told.append(nodeid)
    for name in "xy":
        _run(keeping, SimpleNamespace(nodeid=name), 1)
    assert told == ["x", "y"]
    assert _ended(keeping) == []
