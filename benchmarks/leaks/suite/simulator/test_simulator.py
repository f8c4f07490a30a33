"""Buffers, streams and events of numba's simulator that tests leave, or seem to leave."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from numba import cuda

from benchmarks.leaks.planting import OWN_FAILURE, clean, keep, planted


class Registry:
    """Never forgets: how abandoned buffers become immortal without any thread."""

    def __init__(self):
        self.buffers = []

    def pinned(self):
        self.buffers.append(cuda.pinned_array(4096, np.uint8))
        return self.buffers[-1]


REGISTRY = Registry()


@planted("pinned")
def test_pinned_kept():
    keep(cuda.pinned_array(4096, np.uint8))


@planted("pinned")
def test_view_of_pinned_kept():
    keep(cuda.pinned_array((4, 1024), np.uint8)[1:, ::2])


@planted("pinned")
def test_pinned_in_a_registry():
    REGISTRY.pinned()


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


@planted("thread", also=("pinned",))
def test_watcher_with_a_buffer():
    over = threading.Event()

    def watch(buffer):
        over.wait()

    threading.Thread(target=watch, args=(cuda.pinned_array(4096, np.uint8),), daemon=True).start()
    keep(over, over.set)


@pytest.fixture
def returns_pinned():
    return keep(cuda.pinned_array(4096, np.uint8))


@planted("pinned", owner="returns_pinned")
def test_pinned_of_a_fixture(returns_pinned):
    assert returns_pinned.size == 4096


@pytest.fixture(scope="module")
def module_pinned_kept():
    return keep(cuda.pinned_array(4096, np.uint8))


@planted("pinned", owner="module_pinned_kept")
@pytest.mark.parametrize("n", [1, 2])
def test_pinned_of_a_module_fixture(module_pinned_kept, n):
    assert module_pinned_kept.size == 4096


def test_bystander():
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@clean
def test_pinned_local():
    cuda.pinned_array(4096, np.uint8)[:] = 1


@clean
def test_mapped_local():
    cuda.mapped_array(4096, np.uint8)[:] = 1


@clean
def test_device_local():
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


@cuda.jit
def add_one(values):
    i = cuda.grid(1)
    if i < values.size:
        values[i] += 1


@clean
def test_threads_of_a_launch():
    values = cuda.to_device(np.zeros(64))
    add_one[2, 32](values)
    assert values.copy_to_host().sum() == 64
