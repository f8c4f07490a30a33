"""What people see of each situation: as recorded, narrow enough, within limits, and silent of the machine."""

from __future__ import annotations

import json

import jsonschema
import pytest

from pytest_gpuguard.report import schema
from pytest_gpuguard.report.html import page
from tests.golden.record import HERE, read_situation, views_of
from tests.golden.situations import SITUATIONS

FOLDER = HERE / "situations"


@pytest.mark.parametrize("name", SITUATIONS)
def test_views_are_as_recorded(name):
    """After a wanted change: ``python -m tests.golden.record --views``, and read the difference."""
    for file, text in views_of(read_situation(name)).items():
        assert text == (FOLDER / f"{name}.{file}").read_text(), file


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_record_is_valid_and_says_nothing_of_the_machine(name):
    text = (FOLDER / f"{name}.json").read_text()
    jsonschema.validate(json.loads(text), schema.generate())
    for private in ("/tmp", "/home", "/root", "/work"):
        assert private not in text


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_fits_on_a_terminal_and_is_a_page(name):
    report = read_situation(name)
    lines = views_of(report)["text.txt"].splitlines()
    assert max(map(len, lines)) <= 80
    assert page(report).startswith("<!doctype html>")


def test_nothing_is_recorded_that_is_no_situation():
    assert {path.name.partition(".")[0] for path in FOLDER.iterdir()} == set(SITUATIONS)


#: What must be said of each, so that a record that went wrong is not taken for a picture of it.
SAID = {
    "clean": "nothing left behind",
    "leak": "NEW    thread WritebackWatcher._run, 2 times",
    "leak-of-a-module": "judged at the end of the module",
    "leak-of-a-buffer": "NEW    pinned buffer, 3 times, 12.0 MiB",
    "reaped": "2 of 2: stopped by WritebackWatcher.shutdown()",
    "known": "KNOWN  thread",
    "worse": "WORSE  thread WritebackWatcher._run, 2 times instead of 1",
    "gone": "1 leak of the baseline gone",
    "marked": 'marked    "upstream", #9123',
    "many": "and 2 more leaks: -v shows them",
    "dead-thread": "1 test waited for it and was ended",
    "ended": "ENDED  test_makes_no_progress",
    "slow": "SLOW   test_sleeps",
    "waits": "waits for a lease",
    "lease-timeout": "GPG301",
    "lease-deadlock": "GPG302",
    "crash": "CRASH  worker gw",
    "cut-off": "this run was cut off",
    "interrupted": "this run was interrupted",
    "everything": "1 worker crashed",
    "switched-off": "leaks=off",
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_shows_what_it_is_there_for(name):
    assert SAID[name] in (FOLDER / f"{name}.text.txt").read_text()


def test_the_edit_that_mends_a_fixture_is_in_every_view():
    edit = ["- return WritebackWatcher().start()", "+ writeback_watcher = WritebackWatcher().start()"]
    edit += ["+ yield writeback_watcher", "+ writeback_watcher.shutdown()"]
    report = read_situation("leak")
    views = views_of(report)
    for file in ("text.txt", "summary.md"):
        told = [line.strip() for line in views[file].splitlines()]
        start = told.index(edit[0])
        assert told[start : start + 4] == edit, file
    tags = ("del", "ins", "ins", "ins")
    block = "\n".join(f"<{tag}>{line}</{tag}>" for tag, line in zip(tags, edit, strict=True))
    assert f'<pre class="edit">\n{block}\n</pre>' in page(report)


def test_a_line_that_stays_is_shown_as_such():
    shown = page(read_situation("leak-of-a-module"))
    assert "<ins>+ " not in shown  # a fixture that yields a call has no name to close it by
    report = read_situation("leak")
    (group,) = report.groups
    (leak,) = group.leaks[:1]
    leak.origin.fixture.edit[:] = ["  yield solver", "+ solver.shutdown()"]
    assert '<pre class="edit">\n<span>  yield solver</span>\n<ins>+ solver.shutdown()</ins>' in page(report)
