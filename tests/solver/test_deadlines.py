"""Nothing waits for ever, and errors reach whoever waits."""

from __future__ import annotations

import time
import weakref

import numpy as np
import pytest

from solver import (
    Chunks,
    DeviceError,
    MemoryManager,
    Problem,
    SolverTimeoutError,
    WatcherDiedError,
    WritebackError,
    solve_batch,
)
from solver.devices.virtual import Latency, VirtualDevice
from solver.pipeline import watcher
from solver.pipeline.arrays import InputArrays, OutputArrays
from tests.solver.problems import (
    OneRegionHost,
    decay_solver,
    eventually,
    hanging_device,
    solve_decay,
)


def test_an_event_that_never_comes_ends_in_an_error_that_says_what_is_where():
    device = hanging_device()
    solver = decay_solver(memory_limit=Chunks(4), backend=device, patience=0.3, sets=4, copies=2)
    with pytest.raises(SolverTimeoutError) as caught:
        solve_decay(solver)
    text = str(caught.value)
    assert "no ys buffer came back to the pool within 0.3 s" in text
    assert "chunks: 2 of 4 submitted; active: in 8, out 8" in text
    assert "status 0 of 2 free, t_end 0 of 2 free, y0 0 of 4 free" in text
    assert "2 of 2 threads alive" in text
    assert " (decay) waits for: download of chunk 0 (event due in" in text
    with pytest.raises(SolverTimeoutError, match="call close"):
        solver.close(timeout=0.1)
    device.held = False
    solver.close(timeout=5.0)
    assert solver.memory.registry.describe() == "memory: none held"


def test_a_staging_buffer_that_does_not_become_free_ends_in_an_error_too():
    device = hanging_device()
    solver = decay_solver(memory_limit=Chunks(4), backend=device, patience=0.1)
    with pytest.raises(
        SolverTimeoutError, match=r"upload of chunk 0 did not end within 0\.1 s(.|\n)*active: in 4"
    ):
        solve_decay(solver)
    device.held = False
    # The same solver goes on once the device does.
    assert np.isfinite(solve_decay(solver).ys).all()
    solver.close()


def test_waiting_for_the_writeback_has_a_limit_too():
    device = hanging_device()
    solver = decay_solver(backend=device, patience=0.2)
    with pytest.raises(SolverTimeoutError, match=r"finished nothing for 0\.2 s with 1 tasks left"):
        solve_decay(solver)
    with pytest.raises(SolverTimeoutError, match=r"finished nothing for 0\.05 s"):
        solver.kernel.wait_for_writeback(timeout=0.05)
    device.held = False
    solver.kernel.wait_for_writeback(timeout=5.0)
    assert np.isfinite(solver.kernel.output_arrays.ys.host).all()
    solver.close()


def test_slow_is_not_stuck():
    latency = Latency(upload=0, run=0, download=0.08)
    device = VirtualDevice(latency)
    with decay_solver(memory_limit=Chunks(8), backend=device, copies=8, patience=0.4) as solver:
        # One wait of 0.64 s, longer than the patience, but something always moves.
        assert np.isfinite(solve_decay(solver).ys).all()


def test_pinned_memory_that_does_not_come_is_reported_and_nothing_is_held_meanwhile():
    host = OneRegionHost()
    with decay_solver(memory=MemoryManager(pinned=host)) as first:
        solve_decay(first)
        second = decay_solver(memory=MemoryManager(pinned=host), patience=0.1)
        with pytest.raises(SolverTimeoutError, match=r"not free within 0\.1 s"):
            solve_decay(second)
        second.close()
        assert host.asked[-1] == (first.kernel.pool.nbytes, 0.1)
    assert host.is_free()


def test_an_error_while_copying_reaches_the_caller_and_frees_the_buffers(monkeypatch):
    kept = []

    def full(self, loan, bounds, device):
        local = np.zeros(1)
        kept.append(weakref.ref(local))
        message = "disk full"
        raise OSError(message)

    with decay_solver(memory_limit=Chunks(2)) as solver:
        with monkeypatch.context() as patch:
            patch.setattr(OutputArrays, "unstage", full)
            with pytest.raises(WritebackError, match=r"download of chunk \d failed.*disk full") as caught:
                solve_decay(solver)
        assert isinstance(caught.value.__cause__, OSError)
        # The error is kept, the locals of its frames are not: through them it would keep all buffers.
        # Another writer, which met the same error, may still be at it.
        assert eventually(lambda: all(local() is None for local in kept))
        assert eventually(lambda: not solver.kernel.output_arrays._active_buffers)
        # The thread lives on, and so does the solver.
        assert np.isfinite(solve_decay(solver).ys).all()


def test_an_error_in_the_kernel_reaches_the_caller_as_the_devices():
    def index_error(t, y, p):
        return (y[0], y[1]) if p[0] < 2.0 else (y[0], p[5])

    with pytest.raises(WritebackError) as caught:
        solve_batch(Problem(index_error, 2, 1), (1.0, 1.0), (2.0,), (0.0, 1.0), dt=0.5, backend="sim")
    assert isinstance(caught.value.__cause__, DeviceError)
    assert "IndexError" in str(caught.value)


def test_an_error_while_staging_gives_the_buffers_back(monkeypatch):
    with decay_solver() as solver:
        with monkeypatch.context() as patch:
            patch.setattr(InputArrays, "stage", lambda self, loan, bounds: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                solve_decay(solver)
        assert not solver.kernel.input_arrays._active_buffers
        assert np.isfinite(solve_decay(solver).ys).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("chunks", [1, 4])
def test_a_thread_that_died_ends_the_wait_at_once(monkeypatch, chunks):
    def dies(inbox, writer):
        message = "planted"
        raise TypeError(message)

    monkeypatch.setattr(watcher, "_serve_one", dies)
    solver = decay_solver(memory_limit=Chunks(chunks), patience=60.0)
    started = time.monotonic()
    with pytest.raises(WatcherDiedError, match=r"ended with \d tasks left(.|\n)*0 of \d threads alive"):
        solve_decay(solver)
    assert time.monotonic() - started < 20.0
    solver.close()
    assert solver.memory.registry.describe() == "memory: none held"
