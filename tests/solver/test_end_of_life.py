"""Closed or dropped, a solver leaves neither thread nor memory behind."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from solver import (
    ChunkBufferPool,
    Chunks,
    MemoryManager,
    SolverClosedError,
    SolverError,
    SolverTimeoutError,
    WritebackWatcher,
)
from solver.devices.clock import SystemClock
from solver.devices.virtual import Latency, VirtualDevice
from solver.pipeline.arrays import InputArrays, Loan
from solver.pipeline.tasks import WritebackTask
from tests.solver.problems import (
    OneRegionHost,
    decay_solver,
    eventually,
    hanging_device,
    solve_decay,
    writeback_threads,
)


def test_close_may_be_called_twice_and_ends_everything():
    solver = decay_solver()
    solve_decay(solver)
    assert len(writeback_threads()) == 1
    solver.close()
    solver.close()
    assert not writeback_threads()
    with pytest.raises(SolverClosedError, match="closed; open another"):
        solve_decay(solver)


def test_a_dropped_solver_ends_its_thread_and_frees_its_pinned_memory():
    host = OneRegionHost()
    solver = decay_solver(memory=MemoryManager(pinned=host))
    solve_decay(solver)
    assert not host.is_free()
    gone = weakref.ref(solver)
    gc.disable()
    try:
        # Without the collector: nothing of it may be in a cycle.
        del solver
        assert gone() is None
        assert eventually(lambda: not writeback_threads())
        assert host.is_free()
    finally:
        gc.enable()


def test_a_solver_dropped_in_the_middle_ends_its_thread_too():
    host = OneRegionHost()
    device = hanging_device()
    solver = decay_solver(backend=device, memory=MemoryManager(pinned=host), patience=0.1)
    with pytest.raises(SolverTimeoutError):
        solve_decay(solver)
    del solver
    gc.collect()
    assert eventually(lambda: not writeback_threads())
    assert eventually(lambda: gc.collect() is not None and host.is_free())


def test_a_dropped_solver_is_wound_up_by_a_thread_and_not_inside_the_finaliser():
    host = OneRegionHost()
    released_by = []
    release = host.release
    host.release = lambda: (released_by.append(threading.current_thread().name), release())
    solver = decay_solver(memory=MemoryManager(pinned=host))
    solve_decay(solver)
    solver.itself = solver
    del solver
    # By the collector, which may come inside any allocation; afterwards nobody calls anything of it.
    gc.collect()
    assert eventually(host.is_free)
    assert released_by[0].startswith("writeback-")


def test_a_finaliser_that_runs_in_the_writer_just_before_it_waits_is_not_missed():
    class Clock(SystemClock):
        def mailbox(self):
            mail = super().mailbox()

            class Mailbox:
                put, empty = mail.put, mail.empty

                def get(self):
                    # Where a condition would have looked already, and not begun to wait.
                    inbox[0].abandon()
                    return mail.get()

            return Mailbox()

    watcher = WritebackWatcher(patience=5.0, clock=Clock())
    inbox = [watcher._inbox]
    watcher.start()
    assert eventually(lambda: not watcher.thread.is_alive())


def test_several_watchers_may_wait_for_one_event():
    device = VirtualDevice(Latency(run=0.02))
    device._queue("run", 0.02, lambda: None)
    event = device.record("run")
    watchers = [WritebackWatcher(str(number), patience=5.0) for number in range(3)]
    group = InputArrays([])
    pool = ChunkBufferPool(MemoryManager(), device)
    futures = [
        watcher.submit(WritebackTask(f"{turn}", event, Loan(group, pool)))
        for watcher in watchers
        for turn in range(2)
    ]
    for watcher in watchers:
        watcher.wait_all()
        watcher.shutdown()
    assert all(future.done() and future.exception() is None for future in futures)


def slow_solve(solver, ends):
    try:
        ends.append(solve_decay(solver))
    except SolverError as error:
        ends.append(error)


def test_closing_from_another_thread_ends_the_solve_first():
    solver = decay_solver(memory_limit=Chunks(8), backend=VirtualDevice(Latency(run=0.2)))
    ends = []
    thread = threading.Thread(target=slow_solve, args=(solver, ends))
    thread.start()
    assert eventually(lambda: writeback_threads())
    solver.close()
    assert not writeback_threads()
    assert solver.memory.registry.describe() == "memory: none held"
    thread.join(10.0)
    assert isinstance(ends[0], SolverClosedError)


def test_two_threads_may_not_solve_with_one_solver_at_a_time():
    with decay_solver(memory_limit=Chunks(4), backend=VirtualDevice(Latency(run=0.1))) as solver:
        ends = []
        thread = threading.Thread(target=slow_solve, args=(solver, ends))
        thread.start()
        assert eventually(lambda: writeback_threads())
        with pytest.raises(SolverError, match="another thread solves with this solver"):
            solve_decay(solver)
        thread.join(10.0)
        assert np.isfinite(ends[0].ys).all()


def test_pinned_memory_that_cannot_be_allocated_gives_the_right_to_it_back(monkeypatch):
    def fail(self, shape, dtype):
        message = "out of memory"
        raise MemoryError(message)

    host = OneRegionHost()
    with decay_solver(memory=MemoryManager(pinned=host)) as solver:
        with monkeypatch.context() as patch:
            patch.setattr(VirtualDevice, "pinned", fail)
            with pytest.raises(MemoryError, match="out of memory"):
                solve_decay(solver)
        assert host.is_free()
        assert np.isfinite(solve_decay(solver).ys).all()


def test_there_are_no_more_writers_than_chunks():
    with decay_solver(memory_limit=Chunks(3), writers=5) as solver:
        solve_decay(solver)
        names = sorted(thread.name for thread in writeback_threads())
        assert [name.split(".")[1] for name in names] == ["1 (decay)", "2 (decay)", "3 (decay)"]
        assert list(solver.kernel.watcher.threads) == sorted(writeback_threads(), key=lambda t: t.name)


def test_the_thread_keeps_no_buffers_while_it_has_nothing_to_do():
    with decay_solver() as solver:
        solve_decay(solver)
        loans = [ref for ref in gc.get_objects() if type(ref).__name__ == "WritebackTask"]
        assert not loans


def test_the_threads_name_says_whose_it_is():
    with decay_solver() as solver:
        solve_decay(solver)
        (thread,) = writeback_threads()
        assert thread.name.endswith("(decay)")
        assert thread is solver.kernel.watcher.thread


def test_two_solvers_in_two_threads_do_not_disturb_each_other():
    results, barrier = [], threading.Barrier(2)

    def work():
        with decay_solver(memory_limit=Chunks(4)) as solver:
            barrier.wait(10.0)
            results.extend(solve_decay(solver).ys for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert len(results) == 6
    for ys in results[1:]:
        np.testing.assert_array_equal(ys, results[0])
