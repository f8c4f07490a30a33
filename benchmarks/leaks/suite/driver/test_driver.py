"""Buffers, streams and events of numba's driver that tests leave, or seem to leave."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest
from numba import cuda

from benchmarks.leaks.planting import OWN_FAILURE, clean, keep, planted

IMMORTAL = []


@planted("pinned")
def test_pinned_kept():
    keep(cuda.pinned_array(4096, np.uint8))


@planted("pinned")
def test_view_of_pinned_kept():
    keep(cuda.pinned_array((4, 1024), np.uint8)[1:, ::2])


@planted("pinned")
def test_pinned_in_a_registry():
    IMMORTAL.append(cuda.pinned_array(4096, np.uint8))


@planted("pinned")
def test_pinned_held_by_a_finalizer():
    class Owner:
        pass

    owner = Owner()
    weakref.finalize(owner, len, cuda.pinned_array(4096, np.uint8))
    keep(owner)


@planted("pinned")
def test_mapped_kept():
    keep(cuda.mapped_array(4096, np.uint8))


@planted("pinned")
def test_registered_and_never_unregistered():
    array = np.zeros(1 << 16, np.uint8)
    manager = cuda.pinned(array)
    manager.__enter__()
    keep((array, manager))


@planted("device")
def test_managed_kept():
    keep(cuda.managed_array(4096, np.uint8))


@planted("device")
def test_device_array_kept():
    keep(cuda.device_array(4096, np.uint8))


@planted("device")
def test_to_device_kept():
    keep(cuda.to_device(np.ones(10)))


@planted("stream")
def test_stream_kept():
    keep(cuda.stream())


@planted("event")
def test_event_kept():
    keep(cuda.event())


@pytest.fixture
def returns_pinned():
    return keep(cuda.pinned_array(4096, np.uint8))


@planted("pinned", owner="returns_pinned")
def test_pinned_of_a_fixture(returns_pinned):
    assert returns_pinned.size == 4096


@pytest.fixture(scope="module")
def module_device_kept():
    return keep(cuda.to_device(np.ones(10)))


@planted("device", owner="module_device_kept")
@pytest.mark.parametrize("n", [1, 2])
def test_device_array_of_a_module_fixture(module_device_kept, n):
    assert module_device_kept.size == 10


def test_bystander():
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@clean
def test_pinned_local():
    cuda.pinned_array(4096, np.uint8)[:] = 1


@clean
def test_mapped_and_managed_local():
    cuda.mapped_array(4096, np.uint8)[:] = 1
    cuda.managed_array(4096, np.uint8)[:] = 1


@clean
def test_registered_in_a_with_block():
    with cuda.pinned(np.zeros(1 << 16, np.uint8)):
        pass


@clean
def test_device_local_whose_free_is_queued():
    with cuda.defer_cleanup():
        cuda.to_device(np.ones(10)).copy_to_host()


@clean
def test_pinned_in_a_cycle():
    cycle = [cuda.pinned_array(4096, np.uint8)]
    cycle.append(cycle)


@clean
def test_stream_and_event():
    stream, event = cuda.stream(), cuda.event()
    event.record(stream)
    event.synchronize()


@clean
def test_asynchronous_copy():
    stream, array = cuda.stream(), cuda.pinned_array(4096, np.uint8)
    cuda.to_device(array, stream=stream).copy_to_host(array, stream=stream)
    stream.synchronize()


@clean
def test_fails_with_a_buffer():
    buffer = cuda.pinned_array(4096, np.uint8)
    pytest.fail(OWN_FAILURE if buffer.size else "")


@pytest.fixture(scope="module")
def module_pinned():
    array = cuda.pinned_array(4096, np.uint8)
    yield array
    del array
    gc.collect()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_pinned_of_a_module_fixture_that_goes(module_pinned, n):
    assert module_pinned.size == 4096
