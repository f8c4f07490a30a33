"""The faults do what they say, and the honest watcher does not."""

from __future__ import annotations

import gc
import threading

import pytest

from solver import Chunks, Fault, MemoryManager
from solver.pipeline.faults import DyingWatcher
from solver.pipeline.faults import WritebackWatcher as ImmortalWatcher
from tests.solver.problems import OneRegionHost, decay_solver, eventually, solve_decay


def pollers():
    found = [getattr(getattr(thread, "_target", None), "__self__", None) for thread in threading.enumerate()]
    return [owner for owner in found if isinstance(owner, ImmortalWatcher)]


@pytest.fixture(autouse=True)
def no_poller_stays_behind():
    yield
    for owner in pollers():
        owner.shutdown()
    assert not pollers()


def leak_one(host):
    solve_decay(decay_solver(memory=MemoryManager(pinned=host, limit=Chunks(4)), fault=Fault.IMMORTAL))


def test_the_immortal_watcher_outlives_its_solver_and_keeps_the_pinned_memory():
    host = OneRegionHost()
    leak_one(host)
    gc.collect()
    (owner,) = pollers()
    assert owner.thread.is_alive()
    assert not host.is_free()


def test_shutting_the_immortal_watcher_down_frees_the_pinned_memory():
    host = OneRegionHost()
    leak_one(host)
    (owner,) = pollers()
    owner.shutdown()
    assert not owner.thread.is_alive()
    assert host.is_free()


def test_closing_its_solver_frees_the_pinned_memory_too():
    host = OneRegionHost()
    solver = decay_solver(memory=MemoryManager(pinned=host), fault=Fault.IMMORTAL)
    solve_decay(solver)
    solver.close()
    assert not pollers()
    assert host.is_free()


def test_a_solver_with_the_immortal_watcher_waits_for_pinned_memory_without_a_limit():
    host = OneRegionHost()
    leak_one(host)
    waiting = threading.Thread(target=leak_one, args=(host,), daemon=True)
    waiting.start()
    assert eventually(lambda: len(host.asked) == 2)
    assert [timeout for _, timeout in host.asked] == [None, None]
    waiting.join(0.3)
    assert waiting.is_alive()
    for owner in pollers():
        owner.shutdown()
    waiting.join(10.0)
    assert not waiting.is_alive()


@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_the_dying_watcher_dies_of_a_type_error_and_whoever_waits_waits_for_ever(monkeypatch, chunks):
    deaths = []
    monkeypatch.setattr(threading, "excepthook", deaths.append)
    solver = decay_solver(memory_limit=Chunks(chunks), fault=Fault.DIES)
    main = threading.Thread(target=solve_decay, args=(solver,), daemon=True)
    main.start()
    assert eventually(lambda: deaths)
    assert deaths[0].exc_type is TypeError
    assert "CUevent" in str(deaths[0].exc_value)
    watcher = solver.kernel.watcher
    assert isinstance(watcher, DyingWatcher)
    assert eventually(lambda: not watcher.thread.is_alive())
    main.join(0.5)
    assert main.is_alive()
    # Lets the abandoned thread of this test go.
    watcher._pending = 0
    watcher.shutdown()
    main.join(10.0)
    assert not main.is_alive()
