"""Two devices, callbacks of streams, and cuda.core beside numba."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from numba import cuda


def test_nobody_can_mistake_the_device(driver):
    assert [gpu.name for gpu in cuda.gpus] == ["FakeCUDA device 0", "FakeCUDA device 1"]
    assert cuda.gpus[0].uuid != cuda.gpus[1].uuid
    assert all(gpu.uuid.startswith("GPU-fa4ecd") for gpu in cuda.gpus)


def test_memory_is_counted_on_the_device_that_holds_it(driver):
    before = driver.device_used
    with cuda.gpus[1]:
        array = cuda.device_array(5000, np.uint8)
        assert driver.device_used == (before[0], before[1] + 5000)
        free, total = cuda.current_context().get_memory_info()
        assert total - free == before[1] + 5000
        del array
        cuda.current_context().memory_manager.deallocations.clear()
    assert driver.device_used == before


def test_an_event_of_one_device_cannot_be_recorded_in_a_stream_of_the_other(driver):
    event = cuda.event()
    with cuda.gpus[1]:
        stream = cuda.stream()
        with pytest.raises(Exception, match="INVALID_HANDLE"):
            event.record(stream)


def test_resetting_a_device_frees_everything_on_it(driver):
    with cuda.gpus[1]:
        cuda.current_context().deallocations.clear()
        array, stream = cuda.device_array(5000, np.uint8), cuda.stream()
        pinned = cuda.pinned_array(10)
        assert driver.device_used[1] >= 5000
    kinds = ("stream", "pinned")
    before = {kind: driver.counter(kind).live for kind in kinds}
    cuda.gpus[1].reset()
    assert driver.device_used[1] == 0
    assert {kind: driver.counter(kind).live for kind in kinds} == {kind: before[kind] - 1 for kind in kinds}
    del array, stream, pinned


def test_a_host_function_runs_in_its_place_in_the_stream_and_may_not_call_cuda(driver):
    from cuda.bindings import driver as binding

    stream, source, target = cuda.stream(), cuda.to_device(np.ones(8)), cuda.pinned_array(8)
    seen, done = [], threading.Event()

    def host(_):
        seen.append((target.copy(), binding.cuCtxSynchronize()))
        done.set()

    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(host)
    driver.set(d2h_seconds=0.05)
    source.copy_to_host(target, stream=stream)
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert binding.cuLaunchHostFunc(stream.handle, binding.CUhostFn(address), 0) == (0,)
    assert done.wait(10)
    stream.synchronize()
    ((found, refused),) = seen
    assert (found == 1).all()
    assert refused == (binding.CUresult.CUDA_ERROR_NOT_PERMITTED,)


def test_cuda_core_finds_device_stream_event_and_memory(driver):
    from cuda.core import Device, DeviceMemoryResource, LegacyPinnedMemoryResource

    device = Device(0)
    device.set_current()
    assert device.name == "FakeCUDA device 0"
    stream = device.create_stream()
    pinned = LegacyPinnedMemoryResource().allocate(800)
    pool = DeviceMemoryResource(device)
    before = driver.counter("pool").bytes
    memory = pool.allocate(800, stream=stream)
    assert driver.counter("pool").bytes == before + 800
    host = np.from_dlpack(pinned).view(np.float64)
    host[:] = np.arange(100)
    memory.copy_from(pinned, stream=stream)
    stream.sync()
    host[:] = 0
    memory.copy_to(pinned, stream=stream)
    event = stream.record()
    event.sync()
    assert event.is_done
    assert (host == np.arange(100)).all()
    memory.close(stream)
    stream.sync()
    assert driver.counter("pool").bytes == before
    pinned.close()
    stream.close()


def test_memory_freed_in_stream_order_lives_until_the_stream_gets_there(driver):
    from cuda.bindings import driver as binding

    stream, source, target = cuda.stream(), cuda.to_device(np.ones(8)), cuda.pinned_array(8)
    before = driver.counter("pool").live
    driver.set(d2h_seconds=0.5)
    _, address = binding.cuMemAllocAsync(100, stream.handle)
    source.copy_to_host(target, stream=stream)
    assert binding.cuMemFreeAsync(address, stream.handle) == (0,)
    assert driver.counter("pool").live == before + 1
    stream.synchronize()
    assert driver.counter("pool").live == before
