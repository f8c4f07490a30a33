"""The fixtures `gpu`, `gpu_stream`, `gpu_event` and `gpu_memory_limit`."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest
from numba import cuda

N = 64


@cuda.jit
def _double(array):
    i = cuda.grid(1)
    if i < array.size:
        array[i] *= 2


def test_the_lane_is_the_one_that_was_asked_for(gpu):
    if expected := os.environ.get("LANE"):
        assert gpu.mode == expected


def test_a_device_says_what_it_is(gpu):
    assert gpu.uuid.startswith(("GPU-", "MIG-"))
    assert gpu.name
    assert gpu.ordinal == 0
    major, minor = gpu.capability
    assert (int(major), int(minor)) >= (5, 0)
    assert 0 < gpu.free_bytes() <= gpu.total_bytes


def test_an_event_tells_that_a_stream_got_there(gpu, gpu_stream, gpu_event):
    array = cuda.to_device(np.arange(float(N)))
    target = cuda.pinned_array(N)
    array.copy_to_host(target, stream=gpu_stream)
    gpu_event.record(gpu_stream)
    gpu_event.synchronize()
    assert gpu_event.query() is True
    assert (target == np.arange(N)).all()


@pytest.mark.usefixtures("compiled")
def test_a_kernel_runs_in_the_stream(gpu, gpu_stream):
    array = cuda.to_device(np.arange(float(N)), stream=gpu_stream)
    with gpu_stream.auto_synchronize() as stream:
        assert stream is gpu_stream
        _double[2, N // 2, stream](array)
    gpu.synchronize()
    assert (array.copy_to_host() == 2.0 * np.arange(N)).all()


def test_an_event_that_was_never_recorded_is_past(gpu_event):
    assert gpu_event.query() is True


def test_a_stream_can_wait_for_an_event_of_another(gpu, gpu_stream, gpu_event):
    gpu_event.record(gpu_stream)
    other = gpu.stream()
    gpu_event.wait(other)
    other.synchronize()
    assert gpu_event.query()


def test_time_passes_between_two_events(gpu, gpu_stream, gpu_event):
    second = gpu.event()
    gpu_event.record(gpu_stream)
    cuda.to_device(np.zeros(N), stream=gpu_stream)
    second.record(gpu_stream)
    second.synchronize()
    assert 0 <= gpu_event.elapsed_time(second) < 60_000


@pytest.mark.parametrize("recorded", [False, True])
def test_no_time_can_be_told_of_events_that_have_none(gpu, gpu_stream, gpu_event, recorded):
    other = gpu.event(timing=not recorded)
    gpu_event.record(gpu_stream)
    if recorded:
        other.record(gpu_stream)
        other.synchronize()
    with pytest.raises(cuda.cudadrv.driver.CudaAPIError, match="INVALID_HANDLE"):
        gpu_event.elapsed_time(other)


def test_each_test_gets_its_own(gpu_stream, gpu_event, module_gpu_stream, module_gpu_event, request):
    first = (module_gpu_stream, module_gpu_event)
    assert request.getfixturevalue("module_gpu_stream") is first[0]
    assert gpu_stream is not module_gpu_stream
    assert gpu_event is not module_gpu_event


_seen = []


@pytest.mark.parametrize("number", [0, 1])
def test_wide_twins_are_the_same_for_all(
    number, gpu_stream, module_gpu_stream, session_gpu_stream, module_gpu_event, session_gpu_event
):
    _seen.append((gpu_stream, module_gpu_stream, session_gpu_stream, module_gpu_event, session_gpu_event))
    if number and len(_seen) == 2:
        first, second = _seen
        assert [a is b for a, b in zip(first, second, strict=True)] == [False, True, True, True, True]


def _reported():
    return tuple(cuda.current_context().get_memory_info())


@pytest.mark.parametrize("amount", [3 << 20, "3 MiB"])
def test_a_device_reports_no_more_than_its_limit(gpu, gpu_memory_limit, amount):
    before = _reported()
    with gpu_memory_limit(amount):
        assert gpu.free_bytes() == _reported()[0] == 3 << 20
        assert _reported()[1] == gpu.total_bytes
        assert cuda.current_context().get_memory_info().free == 3 << 20
    assert _reported()[1] == before[1]
    assert _reported()[0] > 3 << 20


def test_of_two_limits_the_lower_one_counts_and_each_ends_by_itself(gpu, gpu_memory_limit):
    with gpu_memory_limit("3 MiB"):
        with gpu_memory_limit("2 MiB"):
            assert gpu.free_bytes() == 2 << 20
        with gpu_memory_limit("5 MiB"):
            assert gpu.free_bytes() == 3 << 20
        with contextlib.suppress(KeyError), gpu_memory_limit(0):
            assert gpu.free_bytes() == 0
            raise KeyError
        assert gpu.free_bytes() == 3 << 20
    assert gpu.free_bytes() > 3 << 20


def test_what_is_allocated_within_a_limit_is_taken_from_it(gpu, gpu_memory_limit):
    if gpu.mode == "sim":
        pytest.skip("arrays of the simulator are the host's: nothing is counted")
    with gpu_memory_limit("3 MiB"):
        array = cuda.device_array(1 << 20, np.uint8)
        assert gpu.free_bytes() <= 2 << 20
        del array


@pytest.mark.parametrize("wrong", ["a lot", -1, "50%"])
def test_a_limit_that_is_no_amount_is_refused(gpu_memory_limit, wrong):
    with pytest.raises(ValueError, match="amount"):
        gpu_memory_limit(wrong)
