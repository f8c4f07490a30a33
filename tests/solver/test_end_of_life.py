"""Closed or dropped, a solver leaves neither thread nor memory behind."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from solver import Chunks, MemoryManager, SolverClosedError, SolverTimeoutError
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
