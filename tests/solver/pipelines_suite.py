"""Pipelines by chance as a suite of its own, for runs in which gpuguard looks for what they leave.

pytest does not collect it by its name: ``make liveness`` and ``tests/solver/test_guarded_liveness.py`` do.
"""

from __future__ import annotations

import gc
import itertools

import pytest

from solver.pipeline.watcher import WritebackWatcher
from tests.solver.liveness import RIGHT, Case, WatchedDevice, run_case

PIPELINES, PER_TEST = 1000, 25


@pytest.fixture(autouse=True)
def without_the_collector():
    """Nothing may wait for the collector while pipelines run; afterwards gpuguard calls it when it looks."""
    gc.disable()
    yield
    gc.enable()


def run_cases(first: int, number: int, *, real: bool) -> None:
    for seed in range(first, first + number):
        run_case(Case(seed, real=real))


@pytest.mark.parametrize("first", range(0, PIPELINES, PER_TEST))
def test_rehearsed(first):
    run_cases(first, PER_TEST, real=False)


@pytest.mark.parametrize("first", [0, 10, 20])
def test_real(first):
    run_cases(first, 10, real=True)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, PIPELINES, PER_TEST))
def test_real_in_great_number(first):
    run_cases(first, PER_TEST, real=True)


KEPT: list[object] = []
"""What the planted defects keep for good."""


def keeps_its_result(method):
    def keeping(*arguments):
        result = method(*arguments)
        KEPT.append(result)
        return result

    return keeping


def keeps_itself_and_ends_no_thread(watcher, timeout):
    KEPT.append(watcher)


PLANTS = {
    "thread": (WritebackWatcher, "shutdown", keeps_itself_and_ends_no_thread),
    "pinned": (WatchedDevice, "pinned", keeps_its_result(WatchedDevice.pinned)),
    "event": (WatchedDevice, "record", keeps_its_result(WatchedDevice.record)),
}


@pytest.mark.parametrize("kind", PLANTS)
def test_planted(kind, monkeypatch):
    """One pipeline that ends rightly and leaves something; it says so itself, and gpuguard has to as well."""
    monkeypatch.setattr(*PLANTS[kind])
    cases = (Case(seed, real=True) for seed in itertools.count())
    case = next(case for case in cases if case.fault == "none" and not case.dropped)
    with pytest.raises(AssertionError):
        assert run_case(case) == RIGHT
