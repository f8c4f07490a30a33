"""How long leases were waited for, in the terminal: the whole, and the five longest."""

from __future__ import annotations

from types import SimpleNamespace

from pytest_gpuguard.report.lines import plain
from pytest_gpuguard.report.model import Wait
from pytest_gpuguard.report.trouble import budget_lines


def wait(name, seconds, end="granted", after=()):
    return Wait(f"tests/test_it.py::{name}", "gw0", {"pinned": 1}, 5.0, 5.0 + seconds, end, list(after))


def lines(waits, verbosity=0):
    report = SimpleNamespace(levels=[], limits={}, waits=waits)
    return plain(budget_lines(report, verbosity)).splitlines()


def test_no_wait_is_no_word():
    assert lines([]) == []


def test_short_waits_are_only_summed_up():
    waits = [wait("test_a", 0.2), wait("test_b", 0.3)]
    summary = "gpuguard: 2 waits for a lease, 0.50 s in all, longest 0.30 s, gw0 (test_b)"
    assert lines(waits) == [summary]
    assert len(lines(waits, 1)) == 3


def test_the_five_longest_are_named_with_whom_they_waited_for():
    waits = [
        wait(f"test_{number}", number, after=["gw1 run1 first", "gw2 run2 last"]) for number in range(1, 9)
    ]
    first, *longest = lines(waits)
    assert "8 waits for a lease, 36.0 s in all, longest 8.0 s" in first
    assert [line.split()[0] for line in longest] == ["8.0", "7.0", "6.0", "5.0", "4.0"]
    assert all("after gw2 run2 last" in line for line in longest)


def test_a_wait_in_vain_says_how_it_ended():
    assert "timeout" in lines([wait("test_a", 300.0, "timeout")])[1]
