"""The thread beside the tests: its first look is its starter's, a fault of it ends it and is told."""

from __future__ import annotations

import threading

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


@pytest.mark.parametrize("good", [0, 1])
def test_a_fault_of_a_look_ends_it_and_is_kept(monkeypatch, good):
    told = threading.Event()
    monkeypatch.setattr("sys.unraisablehook", lambda _: told.set())
    answers = iter([0.0] * good)
    monitor = Monitor(lambda _: next(answers))
    monitor.start()
    assert not good or told.wait(60)
    assert isinstance(monitor.fault, StopIteration)
    monitor.stop(60)
