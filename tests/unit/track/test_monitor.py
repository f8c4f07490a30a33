"""The thread beside the tests: its first look is its starter's, a fault of the last one is told."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_gpuguard.track.monitor import Monitor


@pytest.fixture
def looked():
    """A release for each look, and in ``threads`` where it was taken."""
    looked = threading.Semaphore(0)
    looked.threads = []
    return looked


@pytest.fixture
def monitor(looked):
    def look(now):
        del now
        looked.threads.append(threading.get_ident())
        looked.release()
        return 3600.0

    monitor = Monitor(look)
    yield monitor
    monitor.stop(60)


def test_it_looks_once_where_it_is_started_and_then_from_beside(monitor, looked):
    here = threading.get_ident()
    monitor.start()
    assert looked.acquire(blocking=False)
    for _ in range(2):
        monitor.alarm()
        assert looked.acquire(timeout=60)
    monitor.start()
    assert len(looked.threads) == 3
    assert looked.threads[0] == here
    assert here not in looked.threads[1:]


def test_one_that_is_stopped_looks_no_more(monitor, looked):
    monitor.start()
    monitor.stop(60)
    monitor.alarm()
    assert len(looked.threads) == 1


def test_a_fault_of_a_look_is_kept_until_one_goes_well():
    wrong = KeyError("first")

    def look(now):
        del now
        if wrong is not None:
            raise wrong
        return 3600.0

    monitor = Monitor(look)
    monitor.start()
    assert monitor.fault is wrong
    for outcome in (None, SystemExit("an exception like any other"), None):
        wrong = outcome
        monitor.alarm()
        end = time.monotonic() + 60
        while monitor.fault is not outcome and time.monotonic() < end:
            time.sleep(0.001)
        assert monitor.fault is outcome
    monitor.stop(60)


def test_one_that_has_no_thread_says_so(monitor, monkeypatch):
    def none_left(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", none_left)
    monitor.start()
    assert isinstance(monitor.fault, RuntimeError)
