"""Runs found by name, and journals read whatever state they were left in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from filelock import FileLock

from pytest_gpuguard.report.alive import hold
from pytest_gpuguard.report.journal import Journal, entries
from pytest_gpuguard.report.places import ALIVE, CONTROLLER, HEAD, JOURNALS, PLACE, REPORT, SHEET
from pytest_gpuguard.report.reading import UnreadableError
from pytest_gpuguard.report.runs import NoRunError, find, is_alive, load, runs_in
from pytest_gpuguard.report.sheet import Sheet
from tests.golden.record import RECORD


@pytest.fixture
def cache(tmp_path):
    for name in ("20260101-000000-000001-aaaaaa", "20260101-000000-000002-aaaaaa", ".20260101-unborn"):
        (tmp_path / PLACE / name).mkdir(parents=True)
    return tmp_path


def test_runs_are_found_by_age_by_beginning_and_by_path(cache):
    first, second = runs_in(cache)
    assert find("last", cache) == second
    assert find("last~1", cache) == first
    assert find("20260101-000000-000001", cache) == first
    assert find(str(first), cache) == first


@pytest.mark.parametrize(
    ("name", "said"),
    [("last~2", "no run last~2"), ("2026", "2 runs are called"), ("x", "no runs are called 'x'")],
)
def test_a_run_that_is_not_there_is_refused_with_those_that_are(cache, name, said):
    with pytest.raises(NoRunError, match=said) as caught:
        find(name, cache)
    assert "000002-aaaaaa" in str(caught.value)


def test_an_empty_cache_says_how_to_fill_it(tmp_path):
    assert runs_in(tmp_path) == []
    with pytest.raises(NoRunError, match="run pytest with --gpuguard first"):
        find("last", tmp_path)


def test_a_record_is_read_from_its_folder_and_from_its_file(cache):
    run = find("last", cache)
    (run / REPORT).write_bytes(RECORD.read_bytes())
    assert load(run) == load(run / REPORT)
    with pytest.raises(NoRunError, match="neither a record nor the journals"):
        load(find("last~1", cache))
    with pytest.raises(UnreadableError, match="cannot be read"):
        load(cache / "nowhere.json")


def test_a_run_lives_as_long_as_its_lock_is_held(cache):
    run = find("last", cache)
    assert not is_alive(run)
    with FileLock(run / ALIVE):
        assert is_alive(run)
    assert not is_alive(run)
    release = hold(run / ALIVE)
    assert is_alive(run)
    release()
    assert not is_alive(run)


FORKS = """
import os, sys
from pathlib import Path
from pytest_gpuguard.report.alive import hold

hold(Path(sys.argv[1]))
read, write = os.pipe()
if os.fork():
    os.read(read, 1)
    os._exit(0)
os.write(write, b"1")
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_outlives_the_process_does_not_hold_its_run_on(cache):
    run = find("last", cache)
    process = subprocess.Popen([sys.executable, "-c", FORKS, str(run / ALIVE)], stdin=subprocess.PIPE)
    try:
        assert process.wait(60) == 0
        assert not is_alive(run)
    finally:
        process.stdin.close()


@pytest.fixture
def cut(cache):
    """A run with a head, and a journal of ``gw0`` that is written by the test."""
    run = find("last", cache)
    plain = json.loads(RECORD.read_bytes())
    (run / HEAD).write_text(json.dumps({"run": plain["run"], "settings": plain["settings"]}))
    return run


def test_a_journal_with_torn_and_strange_lines_gives_all_the_others(cut):
    journal = Journal(cut / JOURNALS / "gw0-7.jsonl")
    journal.write(of="gw0", pid=7)
    journal.write(tests=["t.py::a", "t.py::b", "t.py::c", "t.py::d"])
    journal.write(end="t.py::a", start=0.5, at=1.5, outcome="failed", payload={})
    sheet = Sheet(cut / JOURNALS / f"gw0-7{SHEET}", 4)
    for place, at in enumerate([0.5, 1.5, 1.5, 1.75, 2.0]):
        sheet.times[place] = at
    with (cut / JOURNALS / "gw0-7.jsonl").open("ab") as file:
        file.write(
            b"[" * 100_000 + b'\n\xff\xfe\n[1]\n{"end": 3}\n{"from_the_future": 1}\n{"end": "t.py::c", "sta'
        )
    report = load(cut)
    assert [(span.nodeid, span.start, span.stop, span.outcome) for span in report.tests] == [
        ("t.py::a", 0.5, 1.5, "failed"),
        ("t.py::b", 1.5, 1.75, "passed"),
    ]
    assert [span.nodeid for span in report.unfinished] == ["t.py::c"]
    assert [(worker.id, worker.pid, worker.end) for worker in report.workers] == [("gw0", 7, "open")]
    assert (report.run.end, report.run.duration_s) == ("cut off", 2.0)


def test_a_test_that_is_run_again_when_its_process_is_killed_has_not_ended(cut):
    journal = Journal(cut / JOURNALS / "gw0-7.jsonl")
    journal.write(of="gw0", pid=7)
    journal.write(tests=["t.py::a"])
    journal.write(end="t.py::a", start=0.5, at=1.5, outcome="rerun", payload={})
    Sheet(cut / JOURNALS / f"gw0-7{SHEET}", 1).times[0] = 1.5
    report = load(cut)
    assert [(span.nodeid, span.start, span.outcome) for span in report.tests] == [("t.py::a", 0.5, "rerun")]
    assert [(span.nodeid, span.start) for span in report.unfinished] == [("t.py::a", 1.5)]


def test_a_crash_that_the_controller_saw_ends_the_test_that_ran(cut):
    journal = Journal(cut / JOURNALS / "gw0-7.jsonl")
    journal.write(of="gw0", pid=7)
    journal.write(begin="t.py::a", at=0.5)
    journal.close()
    controller = Journal(cut / JOURNALS / CONTROLLER)
    controller.write(down="gw0", error="Not properly terminated", at=3.0)
    report = load(cut)
    assert [(span.nodeid, span.outcome, span.stop) for span in report.tests] == [("t.py::a", "failed", 3.0)]
    assert (report.workers[0].end, report.workers[0].error) == ("crashed", "Not properly terminated")
    assert report.unfinished == []


@pytest.mark.parametrize("head", ["{", "[" * 100_000], ids=["torn", "deep"])
def test_a_head_that_cannot_be_read_is_one_sentence(cut, head):
    (cut / HEAD).write_text(head)
    with pytest.raises(UnreadableError, match="cannot be read"):
        load(cut)


def test_a_journal_that_cannot_be_written_stays_silent(tmp_path):
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "a.jsonl")
    journal.write(begin="x")
    journal.close()


def test_names_of_other_plugins_need_not_be_plain_texts(tmp_path):
    class Name(str):
        __slots__ = ()

    journal = Journal(tmp_path / "j" / "a.jsonl")
    journal.write(begin=Name("t.py::a"), tests=[Name("t.py::b")])
    journal.close()
    assert list(entries(tmp_path / "j" / "a.jsonl")) == [{"begin": "t.py::a", "tests": ["t.py::b"]}]


def test_each_entry_is_one_line(tmp_path):
    journal = Journal(tmp_path / "j" / "a.jsonl")
    journal.write(begin="two\nlines\x00", at=1)
    journal.write(end="\ud800")
    journal.close()
    assert [next(iter(entry.values())) for entry in entries(tmp_path / "j" / "a.jsonl")] == [
        "two\nlines\x00",
        "\ud800",
    ]
