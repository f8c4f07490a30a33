"""Nothing is lost, over-committed or forgotten while workers are killed and stopped at random."""

from __future__ import annotations

import pytest

from pytest_gpuguard.ledger.entrance import look_into
from pytest_gpuguard.ledger.ranges import locked
from pytest_gpuguard.ledger.reader import Reader
from tests.processes.children import Child
from tests.processes.oracle import OverCommitError, Units
from tests.processes.storm import LIMIT, nested_claims, storm


def assert_nothing_left(root):
    reader = Reader(look_into(root, "host"), lambda _: None)
    try:
        table = reader.read()
        assert (table.held, table.waiters, reader.participants()) == ({}, (), [])
        for fd in (reader._ledger, reader._resource("units")):
            assert locked(fd, 0, 1 << 62) == []
    finally:
        reader.close()
    units = Units(root / "units", LIMIT)
    assert units.taken() == 0
    units.close()


def assert_sound(report, root):
    assert (report.over_commits, report.timeouts, report.late, report.errors) == (0, 0, 0, []), report
    assert_nothing_left(root)


def test_a_short_storm_loses_nothing(tmp_path):
    def enough(report):
        return report.grants >= 1500 and report.kills >= 10 and report.stops >= 3

    report = storm(tmp_path, enough=enough, workers=6, kill_every=0.06, stop_share=0.25, most_seconds=240)
    assert_sound(report, tmp_path)
    assert enough(report), report


def test_a_short_storm_of_nested_claims_loses_nothing(tmp_path):
    def enough(report):
        return report.grants >= 500 and report.kills >= 5 and report.refused >= 10

    report = storm(
        tmp_path,
        enough=enough,
        workers=5,
        kill_every=0.1,
        stop_share=0.1,
        most_seconds=240,
        work=nested_claims,
    )
    assert_sound(report, tmp_path)
    assert enough(report), report


@pytest.mark.soak
def test_thousands_of_nested_claims_under_kills_lose_nothing(tmp_path):
    def enough(report):
        return report.grants >= 5000 and report.kills >= 80 and report.refused >= 500

    report = storm(
        tmp_path,
        enough=enough,
        workers=6,
        kill_every=0.1,
        stop_share=0.2,
        most_seconds=200,
        work=nested_claims,
    )
    print(report)
    assert_sound(report, tmp_path)
    assert enough(report), report


@pytest.mark.soak
def test_ten_thousand_grants_under_150_kills_and_50_stops_lose_nothing(tmp_path):
    def enough(report):
        return report.grants >= 10_000 and report.kills >= 150 and report.stops >= 50

    report = storm(tmp_path, enough=enough, workers=8, kill_every=0.03, stop_share=0.3, most_seconds=2400)
    print(report)
    assert_sound(report, tmp_path)
    assert enough(report), report


def test_the_judge_sees_one_unit_too_many(tmp_path):
    def other(say, hear):
        units = Units(tmp_path / "units", 8)
        units.take(5)
        say("has 5")
        hear()

    child = Child(other)
    assert child.hear() == "has 5"
    units = Units(tmp_path / "units", 8)
    units.drop(units.take(3))
    with pytest.raises(OverCommitError, match="1 of 4"):
        units.take(4, patience=0.05)
    child.kill()
    assert units.take(8)
    units.close()


def test_the_storm_sees_a_ledger_that_grants_too_much(tmp_path, monkeypatch):
    from pytest_gpuguard.ledger.reader import Reader as Real

    monkeypatch.setattr(Real, "room", lambda self, name: (LIMIT, LIMIT))
    report = storm(
        tmp_path,
        enough=lambda report: report.over_commits,
        workers=4,
        kill_every=100.0,
        stop_share=0.0,
        most_seconds=240,
    )
    assert report.over_commits > 0
