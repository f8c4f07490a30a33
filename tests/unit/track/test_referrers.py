"""Who keeps a thing alive, and what it costs to find that out."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pytest_gpuguard.track.referrers import holders, kept_by_traceback
from pytest_gpuguard.track.stacks import Places

KEPT: dict[str, object] = {}


@pytest.fixture(autouse=True)
def nothing_is_kept():
    yield
    KEPT.clear()


def _held(*bunches):
    return list(holders(iter(bunches), Places(Path.cwd())))


def _calls(function):
    """Return how often each function of the collector was called by Python code."""
    calls = Counter()

    def count(_, event, called):
        if event == "c_call" and called.__module__ == "gc":
            calls[called.__name__] += 1

    gc.collect()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_all_things_are_looked_for_in_one_walk():
    KEPT["all"] = [np.zeros(3) for _ in range(50)]
    bunches = [[array] for array in KEPT["all"]]
    kept = _calls(lambda: kept_by_traceback(bunches))
    assert kept["get_objects"] == 1
    assert kept["get_referrers"] < len(bunches) / 2
    assert _calls(lambda: _held(*bunches))["get_objects"] == 1
    assert _calls(_held)["get_objects"] == 0


def test_what_else_the_process_holds_is_looked_through_in_few_calls():
    KEPT["thing"] = np.zeros(3)
    few = _calls(lambda: kept_by_traceback([[KEPT["thing"]]]))
    ballast = [({"name": str(number)}, (number,), [number]) for number in range(20_000)]
    many = _calls(lambda: kept_by_traceback([[KEPT["thing"]]]))
    assert many.total() < few.total() + len(ballast) / 10


class Own(np.ndarray):
    """Of a class with attributes: tracked by the collector, unlike arrays."""


@pytest.mark.parametrize(
    ("make", "way"),
    [
        (lambda whole: whole, "['it']"),
        (lambda whole: whole[1:], "['it']"),
        (lambda whole: {"view": whole[1:]}, "['it']['view']"),
        (lambda whole: whole[1:].view(Own), "['it']"),
        (lambda whole: {"view": whole[1:].view(Own)}, "['it']['view']"),
        (lambda whole: np.frombuffer(memoryview(whole)[1:]), "['it']"),
    ],
)
def test_a_holder_is_found_behind_arrays_too(make, way):
    whole = np.zeros(5)
    KEPT["it"] = make(whole)
    assert f"module {__name__}: KEPT{way}" in _held([whole])[0]


class _Owner:
    """What is over only with the process."""


def test_a_table_of_finalizers_is_a_holder():
    KEPT["owner"], thing = _Owner(), np.zeros(5)
    weakref.finalize(KEPT["owner"], thing.fill, 0)
    assert _held([thing])[0][0].startswith("class weakref.finalize: a value['_registry']")
    assert kept_by_traceback([[thing]]) == [False]


class Memory:
    """What arrays may show, with an idea of its own of what it is part of."""

    def __init__(self):
        self.asked = 0
        self.__array_interface__ = np.zeros(5).__array_interface__

    @property
    def base(self):
        """As if it were a part."""
        self.asked += 1
        if self.asked > 1000:
            raise RuntimeError("asked for ever")
        return self


def test_memory_that_is_part_of_itself_is_asked_for_that_a_few_times():
    KEPT["memory"], KEPT["thing"] = Memory(), np.zeros(5)
    KEPT["array"] = np.asarray(KEPT["memory"])
    for _ in range(2):
        assert kept_by_traceback([[KEPT["thing"]]]) == [False]
        assert 0 < KEPT["memory"].asked < 100
    KEPT["memory"].asked = 1000
    assert kept_by_traceback([[KEPT["thing"]]]) == [False]
    assert KEPT["memory"].asked > 1000
