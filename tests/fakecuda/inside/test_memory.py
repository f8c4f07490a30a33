"""Memory: exact counts, limits, and how numba's two queues hold back what was dropped."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

MIB = 1 << 20


def _flush():
    gc.collect()
    context = cuda.current_context()
    context.memory_manager.deallocations.clear()
    context.deallocations.clear()


@pytest.fixture
def counts(driver):
    """Changes of (live, bytes) per kind since the test began."""
    _flush()
    before = {kind: driver.counter(kind) for kind in ("device", "pinned", "mapped", "registered", "managed")}

    def changes():
        now = {kind: driver.counter(kind) for kind in before}
        moved = {kind: (now[kind].live - b.live, now[kind].bytes - b.bytes) for kind, b in before.items()}
        return {kind: change for kind, change in moved.items() if change != (0, 0)}

    yield changes
    _flush()


def test_each_kind_is_counted_exactly(counts):
    kept = [
        cuda.pinned_array(1000, np.uint8),
        cuda.mapped_array(2000, np.uint8),
        cuda.device_array(3000, np.uint8),
        cuda.managed_array(4000, np.uint8),
    ]
    held = {"pinned": (1, 1000), "mapped": (1, 2000), "device": (1, 3000), "managed": (1, 4000)}
    assert counts() == held
    with cuda.pinned(np.zeros(500)):
        assert counts() == {**held, "registered": (1, 4000)}
    assert counts() == held
    kept.clear()
    _flush()
    assert counts() == {}


def test_peak_and_total_outlive_what_was_freed(driver, counts):
    before = driver.counter("pinned")
    for _ in range(3):
        array = cuda.pinned_array(MIB, np.uint8)
        del array
        _flush()
    after = driver.counter("pinned")
    assert (after.live, after.total - before.total) == (before.live, 3)
    assert after.peak >= before.bytes + MIB


def test_streams_and_events_are_counted_until_their_queue_is_flushed(driver):
    _flush()
    before = driver.live()
    streams, events = [cuda.stream() for _ in range(3)], [cuda.event() for _ in range(2)]
    assert driver.counter("stream").live - before.get("stream", 0) == 3
    assert driver.counter("event").live - before.get("event", 0) == 2
    del streams, events
    assert driver.counter("stream").live - before.get("stream", 0) == 3
    cuda.current_context().deallocations.clear()
    assert driver.live() == before


def test_ten_dropped_pinned_arrays_stay_allocated_until_the_eleventh(driver, counts):
    held = []
    for _ in range(12):
        array = cuda.pinned_array(MIB, np.uint8)
        del array
        held.append(counts().get("pinned", (0, 0))[0])
    assert held[:10] == list(range(1, 11))
    assert 0 in held[10:]


def test_flushing_the_memory_queue_gives_pinned_arrays_back(counts):
    arrays = [cuda.pinned_array(MIB, np.uint8) for _ in range(5)]
    del arrays
    assert counts() == {"pinned": (5, 5 * MIB)}
    cuda.current_context().memory_manager.deallocations.clear()
    assert counts() == {}


def test_a_pinned_allocation_that_fails_does_not_flush_the_queue_and_a_mapped_one_does(driver, counts):
    in_use = sum(driver.counter(kind).bytes for kind in ("pinned", "mapped", "registered"))
    for _ in range(3):
        array = cuda.pinned_array(MIB, np.uint8)
        del array
    with driver.setting(pinned_bytes=in_use + 4 * MIB):
        with pytest.raises(CudaAPIError) as refused:
            cuda.pinned_array(2 * MIB, np.uint8)
        assert int(refused.value.code) == 2
        mapped = cuda.mapped_array(2 * MIB, np.uint8)
        assert counts() == {"mapped": (1, 2 * MIB)}
        del mapped


def test_device_memory_has_an_end(driver, counts):
    total = driver.device_used[0] + 4 * MIB
    with driver.setting(device_bytes=total):
        assert cuda.current_context().get_memory_info() == (4 * MIB, total)
        with pytest.raises(CudaAPIError, match="OUT_OF_MEMORY"):
            cuda.device_array(4 * MIB + 1, np.uint8)
        array = cuda.device_array(4 * MIB, np.uint8)
        assert cuda.current_context().get_memory_info() == (0, total)
        del array


def test_the_number_of_page_locked_regions_has_an_end(driver, counts):
    regions = sum(driver.counter(kind).live for kind in ("pinned", "mapped", "registered"))
    with driver.setting(pinned_regions=regions + 2):
        first, second = cuda.pinned_array(8), cuda.pinned_array(8)
        with pytest.raises(CudaAPIError, match="OUT_OF_MEMORY"):
            cuda.pinned_array(8)
        del first, second


def test_pinning_takes_as_long_as_it_is_told_to(driver, counts):
    with driver.setting(pin_seconds=0.05, pin_byte_seconds=0.05 / MIB):
        start = time.monotonic()
        array = cuda.pinned_array(MIB, np.uint8)
    assert time.monotonic() - start >= 0.1
    del array


def test_registering_twice_and_unregistering_what_is_not_are_errors(driver, counts):
    array = np.zeros(1000)
    with cuda.pinned(array), pytest.raises(CudaAPIError, match="712"), cuda.pinned(array):
        pass
    from cuda.bindings import driver as binding

    assert binding.cuMemHostUnregister(array.ctypes.data) == (713,)


def _shared_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssShmem"))


def test_page_locked_memory_shows_as_shared_memory_of_the_process_and_device_memory_does_not(counts):
    before = _shared_kib()
    device = cuda.device_array(32 * MIB, np.uint8)
    assert _shared_kib() - before < 1024
    pinned = cuda.pinned_array(32 * MIB, np.uint8)
    assert 32 * 1024 <= _shared_kib() - before < 33 * 1024
    del device, pinned
    _flush()
    assert _shared_kib() - before < 1024


def test_freeing_waits_for_work_that_has_nothing_to_do_with_it(driver, counts):
    stream, source, target = cuda.stream(), cuda.to_device(np.ones(10)), cuda.pinned_array(10)
    other = cuda.pinned_array(10)
    before = driver.stalls
    driver.set(d2h_seconds=0.4)
    source.copy_to_host(target, stream=stream)
    del other
    cuda.current_context().memory_manager.deallocations.clear()
    assert (target == 1).all()
    assert driver.stalls == before + 1


def test_new_memory_holds_nothing_that_could_pass_for_a_result(driver, counts):
    assert np.isnan(cuda.pinned_array(10)).all()
    assert np.isnan(cuda.device_array(10).copy_to_host()).all()


def test_a_copy_beyond_the_end_of_an_allocation_is_refused(counts):
    from cuda.bindings import driver as binding

    array, target = cuda.device_array(10, np.uint8), np.zeros(20, np.uint8)
    address = array.device_ctypes_pointer.value
    assert binding.cuMemcpyDtoH(target.ctypes.data, address, 20) == (1,)
    assert binding.cuMemcpyDtoH(target.ctypes.data, address, 10) == (0,)
