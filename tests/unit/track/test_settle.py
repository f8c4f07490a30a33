"""Suspects get time to go, and a clean look costs none; by a clock that the test turns."""

# ruff: noqa: D102 - stand-ins whose names say it
from __future__ import annotations

import pytest

from pytest_gpuguard.track.settle import settle, stretched


class Clock:
    """Time that passes only in sleeps."""

    def __init__(self):
        self.now, self.pauses, self.collections, self.takes = 0.0, [], 0, 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def collect(self):
        self.collections += 1

    def settle(self, suspects, limit, **keywords):
        world = {"clock": self, "sleep": self.sleep, "collect": self.collect, "takes": lambda: self.takes}
        return settle(suspects, limit, **world, **keywords)


def test_nobody_suspected_costs_nothing():
    clock = Clock()
    assert clock.settle(list, 2.0) == ([], 0.0)
    assert (clock.pauses, clock.collections) == ([], 0)


def test_who_goes_in_time_is_no_suspect():
    clock = Clock()
    left, waited = clock.settle(lambda: ["thread"] if clock.now < 0.05 else [], 2.0)
    assert left == []
    assert 0.05 <= waited < 0.12


def test_who_stays_is_returned_at_the_limit_and_not_later():
    clock = Clock()
    left, waited = clock.settle(lambda: ["thread"], 0.3)
    assert left == ["thread"]
    assert waited == pytest.approx(0.3)
    assert sum(clock.pauses) == pytest.approx(0.3)


def test_pauses_double_up_to_a_longest_one():
    clock = Clock()
    clock.settle(lambda: ["thread"], 2.0)
    first, second = clock.pauses[:2]
    assert second == 2 * first
    assert max(clock.pauses) == 0.05


def test_one_collection_once_the_first_milliseconds_are_over():
    clock = Clock()
    clock.settle(lambda: ["thread"] if clock.now < 0.001 else [], 2.0)
    assert clock.collections == 0
    clock.settle(lambda: ["thread"] if not clock.collections else [], 2.0)
    assert clock.collections == 1


@pytest.mark.parametrize(("gone", "expected"), [(0.02, 0), (0.2, 1)])
def test_what_may_go_by_itself_gets_as_long_for_that_as_a_collection_takes(gone, expected):
    clock = Clock()
    clock.takes = 0.1
    left, _ = clock.settle(lambda: ["thread"] if clock.now < gone else [], 2.0)
    assert (left, clock.collections) == ([], expected)


def test_what_goes_by_a_collection_alone_is_collected_soon_however_long_that_takes():
    clock = Clock()
    clock.takes = 0.1

    found = ["thread", "file"]
    clock.settle(lambda: [] if clock.collections else found, 2.0, patient=lambda one: one == "thread")
    assert (clock.collections, clock.now < 0.01) == (1, True)


def test_a_collection_that_takes_longer_than_may_be_waited_is_made_all_the_same():
    clock = Clock()
    clock.takes = 60.0
    left, waited = clock.settle(lambda: [] if clock.collections else ["thread"], 0.1)
    assert (left, clock.collections) == ([], 1)
    assert waited < 0.1


def test_another_collection_for_what_was_held_for_a_moment():
    clock = Clock()
    left, waited = clock.settle(lambda: ["thread"] if clock.collections < 2 else [], 2.0)
    assert (left, clock.collections) == ([], 2)
    assert waited < 1.1
    clock.settle(lambda: ["thread"], 2.0)
    assert clock.collections == 4


def test_another_collection_for_what_hung_on_the_last_one_that_was_waited_for():
    clock = Clock()

    def suspects():
        return ["thread", "file"] if clock.now < 0.5 else ["file"] if clock.collections < 2 else []

    left, waited = clock.settle(suspects, 2.0, patient=lambda one: one == "thread")
    assert (left, clock.collections) == ([], 2)
    assert waited < 0.6


def test_what_does_not_go_by_itself_is_not_waited_for_once_it_was_collected():
    clock = Clock()
    left, waited = clock.settle(lambda: ["file"], 2.0, patient=lambda _: False)
    assert (left, clock.collections) == (["file"], 1)
    assert waited < 0.01


def test_no_time_at_all_is_one_look():
    clock = Clock()
    assert clock.settle(lambda: ["thread"], 0.0) == (["thread"], 0.0)
    assert clock.pauses == []


@pytest.mark.parametrize(("load", "expected"), [(0.0, 2.0), (4.0, 2.0), (8.0, 4.0), (400.0, 4.0)])
def test_a_loaded_machine_gets_longer(monkeypatch, load, expected):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert stretched(2.0) == expected
