"""Whatever happens, a solve ends, rightly or with the right error, and nothing stays behind."""

from __future__ import annotations

import gc

import pytest

from solver.devices.rehearsal import Standstill
from solver.devices.virtual import VirtualEvent
from solver.errors import SolverError
from solver.pipeline import watcher
from solver.pipeline.estate import Estate
from solver.pipeline.pool import PinnedBuffer
from solver.pipeline.tasks import Inbox, WritebackTask
from solver.pipeline.watcher import WritebackWatcher
from tests.solver.liveness import FAULTS, Case, run_case

REHEARSED, REAL, SOAK = 1000, 40, 1000


@pytest.fixture(autouse=True)
def without_the_collector():
    """Nothing may wait for the collector: it comes when it likes, or never."""
    gc.disable()
    yield
    gc.enable()


def ends_of(cases) -> dict[str, int]:
    counts = dict.fromkeys(FAULTS, 0)
    for case in cases:
        run_case(case)
        counts[case.fault] += 1
    return counts


def test_rehearsed_pipelines_end_rightly_whatever_happens():
    assert min(ends_of(Case(seed, real=False) for seed in range(REHEARSED)).values()) > 5


def test_real_pipelines_end_rightly_whatever_happens():
    assert min(ends_of(Case(seed, real=True) for seed in range(REAL)).values()) > 0


@pytest.mark.soak
def test_a_thousand_real_pipelines_end_rightly():
    assert sum(ends_of(Case(seed, real=True) for seed in range(SOAK)).values()) == SOAK


@pytest.mark.soak
def test_twenty_thousand_rehearsed_pipelines_end_rightly():
    cases = (Case(seed, real=False) for seed in range(REHEARSED, REHEARSED + 20 * SOAK))
    assert sum(ends_of(cases).values()) == 20 * SOAK


def test_a_case_repeats_itself():
    for seed in range(30):
        assert run_case(Case(seed, real=False)) == run_case(Case(seed, real=False))


def keeps_the_loan_after_an_error(self):
    self._copy(self.loan)
    self.loan.release()


def only_says_that_it_is_abandoned(self):
    self.abandoned = True


def ends_all_writers_but_one(self):
    for _ in range(self.writers - 1):
        self._mail.put(None)


def frees_sets_without_waiting_for_the_device(self, timeout):
    return


DEFECTS = {
    "a writer that keeps its buffers after an error": (
        WritebackTask,
        "finish",
        keeps_the_loan_after_an_error,
    ),
    "a finaliser that wakes nobody": (Inbox, "abandon", only_says_that_it_is_abandoned),
    "one writer too few is told to end": (Inbox, "_end_writers", ends_all_writers_but_one),
    "errors that nobody hears of": (WritebackWatcher, "check", lambda self: None),
    "a writer that does not wait for its event": (VirtualEvent, "wait", lambda self, timeout: True),
    "nothing bequeathed": (WritebackWatcher, "bequeath", lambda self, teardown: None),
    "buffers that do not come back": (PinnedBuffer, "release", lambda self: None),
    "memory freed before the device is done": (Estate, "_drain", frees_sets_without_waiting_for_the_device),
    "a close that ends no threads": (WritebackWatcher, "shutdown", lambda self, timeout: None),
    "a kept error that holds its frames": (watcher, "without_frames", lambda error: error),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect, monkeypatch):
    monkeypatch.setattr(*DEFECTS[defect])
    with pytest.raises((AssertionError, SolverError, Standstill)):
        ends_of(Case(seed, real=False) for seed in range(REHEARSED))
