"""The score of the seeded suite: a detector that errs must look bad in it."""

from __future__ import annotations

from benchmarks.leaks.planting import OWN_FAILURE
from benchmarks.leaks.score import Finding, cases, score, spoken

CASES = cases(
    [
        {"nodeid": "t.py::test_kept", "role": "planted", "kind": "thread", "owner": None, "also": ["fd"]},
        {"nodeid": "t.py::test_wide[1]", "role": "planted", "kind": "shm", "owner": "wide"},
        {"nodeid": "t.py::test_wide[2]", "role": "planted", "kind": "shm", "owner": "wide"},
        {"nodeid": "t.py::test_clean", "role": "clean"},
        {"nodeid": "t.py::test_other", "role": "bystander"},
    ]
)
KEPT, WIDE = Finding("t.py::test_kept", "thread"), Finding("t.py::test_wide[2]", "shm", "wide")


def test_all_found_by_one_finding_each():
    assert score(CASES, [KEPT, WIDE]).perfect
    assert score(CASES, [KEPT, WIDE]).found == {"t.py::test_kept", "t.py::wide"}


def test_what_comes_with_a_leak_may_be_reported_but_finds_nothing():
    assert score(CASES, [KEPT, WIDE, Finding("t.py::test_kept", "fd")]).perfect
    assert score(CASES, [Finding("t.py::test_kept", "fd"), WIDE]).missed == {"t.py::test_kept"}


def test_a_wrong_owner_or_kind_finds_nothing_and_is_counted():
    owner = score(CASES, [KEPT, Finding("t.py::test_wide[1]", "shm", "another")])
    kind = score(CASES, [KEPT, Finding("t.py::test_wide[1]", "thread", "wide")])
    for result in (owner, kind):
        assert result.missed == {"t.py::wide"}
        assert len(result.wrong) == 1


def test_the_innocent_count_against_whoever_blames_them():
    result = score(CASES, [KEPT, WIDE, Finding("t.py::test_clean"), Finding("t.py::test_other")])
    assert (len(result.false_alarms), len(result.wrong), result.perfect) == (1, 1, False)


def test_failures_of_the_suite_itself_blame_nobody():
    failures = [
        {"nodeid": "t.py::test_kept", "text": f"Failed: {OWN_FAILURE}"},
        {"nodeid": "t.py::test_kept", "text": "leaked Thread-1"},
    ]
    assert spoken(failures) == [Finding("t.py::test_kept")]


def test_a_wide_fixture_is_blamed_by_its_name_whichever_test_it_was_set_up_for():
    beside = Finding("t.py::test_other", "shm", "wide", wide=True)
    assert score(CASES, [KEPT, beside]).perfect
    assert score(CASES, [KEPT, WIDE, Finding("t.py::test_other", "shm", "another", wide=True)]).wrong


def test_kinds_that_were_not_asked_for_are_not_missed():
    assert score(CASES, [KEPT], blind=frozenset({"shm"})).perfect
    assert not score(CASES, [KEPT], blind=frozenset({"fd"})).perfect
