"""The solver on the driver path: what is waited for too little is seen, what the driver refuses is said."""

from __future__ import annotations

import functools
import gc
import threading

import numpy as np
import pytest
from numba.cuda.cudadrv.driver import CudaAPIError

from solver import Chunks, MemoryManager, SolverTimeoutError, WritebackError
from solver.devices.cuda import CudaDevice
from tests.fakecuda.control import Fault
from tests.fakecuda.waiting import until
from tests.solver.problems import decay_solver, solve_decay, writeback_threads

pytestmark = pytest.mark.usefixtures("host_kernels")

SAVED = (0.25, 0.5, 1.0)


@functools.cache
def _expected():
    with decay_solver(memory_limit=Chunks(1)) as solver:
        return solve_decay(solver, saveat=SAVED).ys


@pytest.fixture(autouse=True)
def _known(host_kernels):
    """Have the right results before anything is made difficult."""
    _expected()


def _is_right(device=None, **options):
    with decay_solver(memory_limit=Chunks(4), backend=device or "cuda", **options) as solver:
        return np.array_equal(solve_decay(solver, saveat=SAVED).ys, _expected())


class Hasty(CudaDevice):
    """A device whose events of one stream are taken for past as soon as they are recorded."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def record(self, stream):
        """Record an event, perhaps one that lies."""
        event = super().record(stream)
        if stream == self.stream:
            event.query = lambda: True
        return event

    def elapsed(self, begin, end):
        """Measure nothing: asked of an event that has not come, the driver would tell."""
        return 0.0

    def drained(self):
        """Look at true events."""
        return all(CudaDevice.record(self, stream).query() for stream in self._streams)


class Careless(CudaDevice):
    """A device one of whose streams does not wait for the others."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def after(self, stream, event):
        """Wait, but not in that stream."""
        if stream != self.stream:
            super().after(stream, event)

    def elapsed(self, begin, end):
        """Measure nothing."""
        return 0.0


@pytest.mark.parametrize("stream", ["in", "out"])
def test_a_buffer_that_is_used_before_its_event_is_seen(driver, stream):
    driver.set(deferred=1)
    assert not _is_right(Hasty(stream), copies=1, sets=1)
    assert _is_right(copies=1, sets=1)


@pytest.mark.parametrize(
    ("stream", "timing"),
    [("run", {"deferred": 1}), ("out", {"deferred": 1}), ("in", {"compute_seconds": 0.3})],
)
def test_a_stream_that_does_not_wait_for_another_is_seen(driver, stream, timing):
    with driver.setting(**timing):
        assert not _is_right(Careless(stream), copies=1, sets=1)
        assert _is_right(copies=1, sets=1)


def test_asking_the_time_of_an_event_that_has_not_come_is_an_error(driver):
    driver.set(deferred=1)

    class Eager(Hasty):
        elapsed = CudaDevice.elapsed

    with (
        decay_solver(memory_limit=Chunks(4), backend=Eager("out")) as solver,
        pytest.raises(WritebackError, match="NOT_READY"),
    ):
        solve_decay(solver)


@pytest.mark.parametrize("slow", ["h2d_seconds", "d2h_seconds", "compute_seconds"])
@pytest.mark.parametrize("writers", [1, 3])
def test_latencies_change_nothing(driver, slow, writers):
    with driver.setting(**{slow: 0.02}):
        assert _is_right(writers=writers)


def test_many_watchers_may_poll_one_event(driver):
    device = CudaDevice()
    source, target = device.constant(np.full(100, 7.0)), device.pinned((100,), np.dtype(float))
    driver.set(d2h_seconds=0.1)
    device.download(source, target)
    event, seen = device.record("out"), []
    assert not event.query()
    assert np.isnan(target).all()

    def watch():
        seen.append(event.wait(30.0) and bool((target == 7.0).all()))

    watchers = [threading.Thread(target=watch) for _ in range(6)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(60)
    assert seen == [True] * 6


def test_a_watcher_for_each_stream_sees_its_own(driver):
    driver.set(deferred=1)
    seen = {}

    def watch(number):
        device = CudaDevice()
        source, target = device.constant(np.full(100, float(number))), device.pinned((100,), np.dtype(float))
        for _ in range(5):
            target[:] = -1.0
            device.after("out", device.record("in"))
            device.download(source, target)
            done = device.record("out").wait(30.0)
            seen.setdefault(number, []).append(done and bool((target == number).all()))

    watchers = [threading.Thread(target=watch, args=(number,)) for number in range(4)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(60)
    assert seen == {number: [True] * 5 for number in range(4)}


def test_a_query_that_fails_is_raised_to_who_waits_and_the_solver_goes_on(driver):
    # The first three look whether the lanes are idle; with two chunks only writers ask after that.
    with decay_solver(memory_limit=Chunks(2)) as solver:
        with (
            driver.failing(Fault("cuEventQuery", code=1, first=4, last=4)),
            pytest.raises(WritebackError, match=r"download of chunk \d failed.*INVALID_VALUE") as failure,
        ):
            solve_decay(solver, saveat=SAVED)
        assert isinstance(failure.value.__cause__, CudaAPIError)
        np.testing.assert_array_equal(solve_decay(solver, saveat=SAVED).ys, _expected())


def _live(driver):
    from numba import cuda

    gc.collect()
    context = cuda.current_context()
    context.memory_manager.deallocations.clear()
    return {kind: driver.counter(kind).live for kind in ("device", "pinned")}


@pytest.mark.parametrize("function", ["cuMemHostAlloc", "cuMemAlloc", "cuLaunchKernelEx", "cuEventRecord"])
@pytest.mark.parametrize("call", [1, 3])
def test_any_call_that_fails_in_a_solve_is_raised_and_nothing_is_kept(driver, function, call):
    before = _live(driver)
    with decay_solver(memory_limit=Chunks(4)) as solver:
        solve_decay(solver)  # compiled
        solver.kernel.pool._free_all(10.0)
        # Of memory that has run out, numba would ask a second time.
        with (
            driver.failing(Fault(function, code=801, first=call, last=call)),
            pytest.raises(Exception) as caught,
        ):
            solve_decay(solver, saveat=SAVED)
        assert "NOT_SUPPORTED" in str(caught.value)
        caught = None
        np.testing.assert_array_equal(solve_decay(solver, saveat=SAVED).ys, _expected())
    del solver
    assert _live(driver) == before
    assert not writeback_threads()


@pytest.mark.parametrize("limit", ["pinned_bytes", "pinned_regions"])
def test_page_locked_memory_that_is_not_there_is_said(driver, limit):
    before = _live(driver)
    used = driver.counter("pinned")
    amount = {"pinned_bytes": used.bytes + 100, "pinned_regions": used.live + 3}[limit]
    with (
        driver.setting(**{limit: amount}),
        decay_solver(memory_limit=Chunks(4)) as solver,
        pytest.raises(CudaAPIError, match="cuMemHostAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
    ):
        solve_decay(solver)
    del solver
    assert _live(driver) == before


def test_little_device_memory_means_more_chunks(driver):
    expected = _expected()
    with driver.setting(device_bytes=driver.device_used[0] + 400), decay_solver() as solver:
        solution = solve_decay(solver, saveat=SAVED)
        assert solution.stats.chunks > 1
    np.testing.assert_array_equal(solution.ys, expected)


def test_no_device_memory_is_said_with_numbers(driver):
    with (
        driver.setting(device_bytes=driver.device_used[0] + 10),
        decay_solver() as solver,
        pytest.raises(MemoryError, match=r"\d+ bytes"),
    ):
        solve_decay(solver)


def test_slow_pinning_is_only_slow(driver):
    with driver.setting(pin_seconds=0.05):
        assert _is_right()


@pytest.mark.parametrize("fault", ["kernel", "copy"])
def test_work_that_never_ends_runs_out_of_patience_and_can_be_closed_later(driver, fault):
    solver = decay_solver(memory_limit=Chunks(4), patience=0.5)
    with driver.failing(Fault(fault, hang=True, first=2, last=2)):
        with pytest.raises(SolverTimeoutError) as late:
            solve_decay(solver)
        assert "download of chunk" in late.value.state or "buffer" in late.value.state
        with pytest.raises(SolverTimeoutError):
            solver.close(0.2)
        until(lambda: driver.hanging == 1)
        driver.release()
        solver.close()
    assert not writeback_threads()


def test_a_writer_whose_call_hangs_is_waited_for_no_longer_than_the_patience(driver):
    solver = decay_solver(memory_limit=Chunks(2), patience=0.5)
    # The first three look whether the lanes are idle; with two chunks only writers ask after that.
    with driver.failing(Fault("cuEventQuery", hang=True, first=4, last=4)):
        with pytest.raises(SolverTimeoutError, match=r"finished nothing for 0.5 s") as late:
            solve_decay(solver)
        assert "waits for: download of chunk" in late.value.state
        assert driver.hanging == 1
        driver.release()
        solver.close()
    assert not writeback_threads()


def test_a_host_that_pins_nothing_in_time_is_said(driver):
    class Full:
        def reserve(self, nbytes, timeout):
            raise TimeoutError("all regions are held")

    with (
        decay_solver(memory=MemoryManager(Chunks(4), Full())) as solver,
        pytest.raises(SolverTimeoutError, match="did not become free: all regions are held"),
    ):
        solve_decay(solver)
