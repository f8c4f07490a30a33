"""Known leaks: what is accepted, for how long, what is worse and what is gone."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest

from pytest_gpuguard.report.baseline import Baseline, accept, apply, gone, read_baseline, write_baseline
from pytest_gpuguard.report.model import Accepted, Probe, Setting, TestSpan
from pytest_gpuguard.report.reading import UnreadableError
from tests.golden.record import read

DAY = date(2026, 5, 1)
REPLACE = msgspec.structs.replace


def _groups():
    return read().groups


def _baseline(**changes):
    entry = accept(_groups()[0], "upstream", "#12", None, DAY)
    return Baseline(leaks=[REPLACE(entry, **changes)])


def _statuses(baseline, groups=None, day=DAY):
    return [group.status for group in apply(groups or _groups(), baseline, day)]


def test_what_is_accepted_is_known_and_comes_last():
    groups = apply(_groups(), _baseline(), DAY)
    assert [group.status for group in groups] == ["new", "new", "new", "known"]
    assert groups[-1].fingerprint == _groups()[0].fingerprint
    assert groups[-1].known == Accepted("upstream", "baseline", "#12", None)
    assert groups[-1].tolerated == 3


def test_more_than_were_accepted_are_worse_and_fewer_are_not():
    assert _statuses(_baseline(occurrences=2)) == ["new", "new", "new", "worse"]
    assert _statuses(_baseline(occurrences=9)) == ["new", "new", "new", "known"]
    assert _statuses(_baseline(occurrences=None)) == ["new", "new", "new", "known"]


@pytest.mark.parametrize(("until", "last"), [("2026-05-01", "known"), ("2026-04-30", "new")])
def test_the_last_day_counts_and_the_next_does_not(until, last):
    assert _statuses(_baseline(until=until))[-1] == last


def test_another_entry_in_force_stands_in_for_an_expired_one():
    old, new = _baseline(until="2020-01-01").leaks[0], _baseline().leaks[0]
    assert _statuses(Baseline(leaks=[old, new]))[-1] == "known"


def _marked(group, *marks):
    known = [Accepted(reason, "marker") if reason else None for reason in marks]
    leaks = [REPLACE(leak, known=why) for leak, why in zip(group.leaks, known, strict=True)]
    return REPLACE(group, leaks=leaks)


def test_a_defect_is_known_by_marks_only_where_all_its_leaks_are():
    one = _groups()[0]
    assert _statuses(Baseline(), [_marked(one, "a", "b", "c")]) == ["known"]
    assert _statuses(Baseline(), [_marked(one, "a", None, "c")]) == ["new"]
    (group,) = apply([_marked(one, "a", "b", "c")], Baseline(), DAY)
    assert group.known == Accepted("a", "marker")


def _run(outcome="passed", **changes):
    """Return a run without leaks of a test that had one."""
    ran = [TestSpan("test_chunks.py::test_shape[f4]", "main", 0, 1, outcome)]
    return REPLACE(read(), groups=[], **({"tests": ran} | changes))


def test_gone_is_what_its_tests_no_longer_leave():
    assert gone(_baseline(), read(), DAY) == []
    for report in (REPLACE(read(), groups=_groups()[1:]), _run(), _run("rerun")):
        (entry,) = gone(_baseline(), report, DAY)
        assert (entry.fingerprint, entry.reason) == (_groups()[0].fingerprint, "upstream")


@pytest.mark.parametrize("report", [_run(tests=[]), _run("skipped"), _run("failed")])
def test_what_was_not_run_to_the_end_is_not_gone(report):
    assert gone(_baseline(), report, DAY) == []


@pytest.mark.parametrize(
    "report",
    [
        _run(settings={"leaks": Setting("off", "command line")}),
        _run(probes=[Probe("process", 0, 0)]),
        _run(probes=[Probe("thread", 0, 0, "it failed")]),
    ],
)
def test_what_was_not_watched_is_not_gone(report):
    assert gone(_baseline(), report, DAY) == []


def test_of_an_older_entry_nothing_says_whether_it_was_watched():
    assert gone(_baseline(kind=""), _run(), DAY) == []


def test_a_baseline_goes_there_and_back_in_a_stable_order():
    entries = [accept(group, "why", None, "2030-01-01", DAY) for group in _groups()]
    there = write_baseline(Baseline(leaks=entries))
    again = read_baseline(there, "it")
    assert again == read_baseline(write_baseline(Baseline(leaks=entries[::-1])), "it")
    assert {entry.fingerprint for entry in again.leaks} == {group.fingerprint for group in _groups()}
    assert write_baseline(again) == there
    assert there.endswith(b"}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no baseline"),
        ("[]", "is no baseline"),
        ('{"later": ' + "[" * 100_000, "is no baseline"),
        ('{"leaks": [{"fingerprint": "v1:0"}]}', "is no baseline"),
        (
            '{"leaks": [{"fingerprint": "f", "title": "t", "reason": "r", "accepted": "", "until": "May"}]}',
            "no baseline",
        ),
        (
            '{"leaks": [{"fingerprint": "f", "title": "t", "reason": " ", "accepted": ""}]}',
            "f has no reason",
        ),
        ('{"baseline_version": 2, "leaks": []}', "has version 2"),
    ],
)
def test_what_is_no_baseline_is_refused(text, said):
    with pytest.raises(UnreadableError, match=said):
        read_baseline(text.encode(), "it")


def test_fields_from_the_future_are_passed_over():
    plain = json.loads(write_baseline(_baseline()))
    plain["leaks"][0]["mood"] = "fine"
    assert read_baseline(json.dumps(plain).encode(), "it") == _baseline()
