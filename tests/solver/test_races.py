"""Whoever reads or overwrites a buffer too early is found out."""

from __future__ import annotations

import numpy as np

from solver import Chunks
from solver.devices.virtual import Latency, VirtualDevice, VirtualEvent
from solver.pipeline.feeder import Feeder
from tests.solver.problems import FakeClock, decay_solver, solve_decay

SLOW = Latency(upload=2e-3, run=2e-3, download=2e-3)


def test_a_watcher_that_does_not_wait_for_the_event_gets_poison(monkeypatch):
    monkeypatch.setattr(VirtualEvent, "wait", lambda self, timeout: True)
    with decay_solver(memory_limit=Chunks(4), copies=4, backend=VirtualDevice(SLOW)) as solver:
        ys = solve_decay(solver).ys
    assert np.isnan(ys).any()


def test_staging_buffers_overwritten_before_their_upload_has_ended_spoil_the_results(monkeypatch):
    with decay_solver() as solver:
        right = solve_decay(solver).ys
    monkeypatch.setattr(Feeder, "_wait_for", lambda self, event, what: None)
    with decay_solver(memory_limit=Chunks(4), backend=VirtualDevice(SLOW)) as solver:
        assert not np.array_equal(solve_decay(solver).ys, right, equal_nan=True)


def test_a_kernel_that_does_not_wait_for_its_upload_is_seen(monkeypatch):
    monkeypatch.setattr(VirtualDevice, "after", lambda self, lane, event: None)
    latency = Latency(upload=5e-3, run=0, download=0)
    with decay_solver(memory_limit=Chunks(4), backend=VirtualDevice(latency)) as solver:
        assert np.isnan(solve_decay(solver).ys).any()


def test_nothing_happens_before_its_virtual_time():
    clock = FakeClock()
    device = VirtualDevice(Latency(upload=1, run=1, download=1), clock)
    pinned = device.pinned((2,), np.dtype(float))
    array = device.constant(np.array([1.0, 2.0]))
    device.download(array, pinned)
    event = device.record("out")
    for now, due in ((0.0, False), (0.99, False), (1.0, True)):
        clock.time = now
        assert event.query() is due
        assert np.isnan(pinned).all() is np.bool_(not due)
    np.testing.assert_array_equal(pinned, [1.0, 2.0])
