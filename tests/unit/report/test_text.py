"""What a terminal shows: as recorded, within 80 columns, and harmless whatever a suite calls its things."""

from __future__ import annotations

import msgspec
import pytest

from pytest_gpuguard.report.lines import plain, printable, tail
from pytest_gpuguard.report.model import Accepted, Stall
from pytest_gpuguard.report.text import closing_lines, leak_lines, section_lines, summary
from tests.golden.record import HERE, VIEWS, read, view
from tests.helpers.hostile import renamed

REPLACE = msgspec.structs.replace


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_as_recorded(name):
    """After a wanted change: ``python -m tests.golden.record --views``, and read the difference."""
    assert view(read(), VIEWS[name]) == (HERE / name).read_text()


@pytest.mark.parametrize("verbosity", VIEWS.values())
def test_nothing_is_wider_than_eighty_columns(verbosity):
    assert max(map(len, view(read(), verbosity).splitlines())) <= 80


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J\x1b[31mred", "two\nlines\r\n\x00", "w" * 3000, "long " * 900, "\u202eright", "a/" * 80, ""],
)
@pytest.mark.parametrize("verbosity", [0, 2])
def test_names_cannot_break_the_picture(text, verbosity):
    shown = view(renamed(read(), text), verbosity).splitlines()
    assert max(map(len, shown)) <= 80
    assert all(line.isprintable() for line in shown)
    assert len(shown) < 260


def test_silence_says_what_was_watched():
    report = REPLACE(read(), groups=[], deaths=[], stalls=[])
    assert section_lines(report) == []
    assert plain(closing_lines(report)).endswith("in 8 tests, nothing left behind")


def test_quiet_shows_leaks_and_no_more():
    assert section_lines(read(), -1) != []
    assert section_lines(REPLACE(read(), groups=[]), -1) == []


def test_few_groups_are_shown_and_the_rest_is_counted():
    (one, *_) = read().groups
    report = REPLACE(read(), groups=[one] * 7)
    assert plain(section_lines(report)).count("NEW ") == 5
    assert "and 2 more leaks: -v shows them" in plain(section_lines(report))
    assert plain(section_lines(report, 1)).count("NEW ") == 7


@pytest.mark.parametrize(("cpu", "said"), [(0.97, True), (0.01, False), (None, False)])
def test_a_watcher_that_does_not_sleep_is_said_to_burn(cpu, said):
    thread = next(group for group in read().groups if group.kind == "thread")
    leaks = [REPLACE(leak, subject=REPLACE(leak.subject, cpu=cpu)) for leak in thread.leaks]
    shown = plain(section_lines(REPLACE(read(), groups=[REPLACE(thread, leaks=leaks)])))
    assert ("burns     97% of a CPU while it was waited for" in shown) == said
    assert ("burns" in shown) == said


def test_what_is_not_shown_of_deaths_and_stalls_is_counted():
    report = read()
    deaths = [REPLACE(report.deaths[0], error=f"OSError: {number}") for number in range(8)]
    stalls = [Stall(f"t.py::test_{number}", "call", "gw0", 300.0, False, "") for number in range(9)]
    said = plain(section_lines(REPLACE(report, groups=[], deaths=deaths, stalls=stalls)))
    assert said.count("DIED ") == said.count("SLOW ") == 5
    assert "and 3 more, see the report" in said
    assert "and 4 more, see the report" in said


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"deaths": 2}, "2 threads died under a test"),
        ({"tests_ended": 1, "stalls": 3}, "1 test ended without progress"),
        ({"stalls": 3}, "3 stalls"),
    ],
)
def test_the_verdict_is_one_sentence(figures, said):
    verdict = msgspec.structs.replace(
        read().verdict, **dict.fromkeys(msgspec.structs.asdict(read().verdict), 0) | figures
    )
    assert summary(REPLACE(read(), verdict=verdict)) == said


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ([("function", "t.py::a")], "1 test"),
        ([("function", "t.py::a"), ("block", "t.py::a"), ("function", "t.py::b")], "2 tests"),
        ([("module", "t.py"), ("module", "t.py")], "1 module"),
        ([("session", ""), ("function", "t.py::a")], "1 test and 1 session"),
        (
            [("class", "t.py::A"), ("class", "t.py::B"), ("package", "p"), ("function", "t.py::a")],
            "1 test, 2 classes and 1 package",
        ),
    ],
)
def test_it_is_said_whose_the_leaks_are(owners, said):
    group = read().groups[0]
    leaks = [REPLACE(group.leaks[0], judged_at=scope, judged_node=node) for scope, node in owners]
    report = REPLACE(read(), groups=[REPLACE(group, leaks=leaks)])
    assert summary(report).startswith(f"4 leaks left by {said}, ")


@pytest.mark.parametrize(
    ("status", "reasons", "said"),
    [
        ("new", (None, "a", "b"), ['marked    1 more time, "a"', 'marked    1 more time, "b"']),
        ("new", (None, "a", "a"), ['marked    2 more times, "a"']),
        ("known", ("a", "b", "a"), ['marked    "a"', 'marked    "b"']),
    ],
)
def test_every_reason_of_a_mark_is_shown(status, reasons, said):
    group = read().groups[0]
    marks = [Accepted(reason, "marker") if reason else None for reason in reasons]
    leaks = [REPLACE(leak, known=mark) for leak, mark in zip(group.leaks, marks, strict=True)]
    known = marks[0] if status == "known" else None
    lines = plain(leak_lines(REPLACE(group, status=status, leaks=leaks, known=known))).splitlines()
    assert [line.strip() for line in lines if "marked" in line] == said


def test_a_process_that_could_not_end_waits_is_named_once():
    workers = [REPLACE(read().workers[0], id=name, unable="no \x1bsignal") for name in ("gw0", "gw1")]
    said = plain(closing_lines(REPLACE(read(), workers=workers)))
    assert said.count("no wait could be ended: no ?signal") == 1


def test_the_end_of_a_long_name_is_kept():
    assert tail("a/very/long/path.py:12", 12) == "...ath.py:12"
    assert tail("short", 12) == "short"
    assert printable("a\tb") == "a?b"
