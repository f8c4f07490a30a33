"""Kernels: launches are recorded, and bodies on the host give the right results in the right order."""

from __future__ import annotations

import math
import threading
from collections import namedtuple
from enum import IntEnum

import numpy as np
import pytest
from numba import cuda

from tests.fakecuda.kernels import HostKernels, NotModelledError, host_kernel


@cuda.jit(device=True, inline="always")
def _shifted(value, by):
    return value + by


@cuda.jit
def _add(array, value):
    i = cuda.grid(1)
    if i < array.size:
        array[i] = _shifted(array[i], value)


@cuda.jit
def _place(out):
    x, y = cuda.grid(2)
    if x < out.shape[0] and y < out.shape[1]:
        out[x, y] = 1000 * x + y + 1_000_000 * cuda.blockIdx.x


@cuda.jit
def _shares(array):
    shared = cuda.shared.array(32, np.float64)
    shared[cuda.threadIdx.x] = array[cuda.threadIdx.x]
    cuda.syncthreads()
    array[cuda.threadIdx.x] = shared[31 - cuda.threadIdx.x]


def test_a_launch_is_recorded(driver, host_kernels):
    array, stream = cuda.to_device(np.zeros(64)), cuda.stream()
    _add[(2, 1), (32, 1), stream, 128](array, 2.5)
    stream.synchronize()
    launch = driver.launches()[-1]
    assert "_add" in launch.name
    assert launch[1:] == ((2, 1, 1), (32, 1, 1), 128, 0, int(stream.handle))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_kernel_s_own_source_runs_on_the_host(driver, host_kernels, compiled):
    with HostKernels(driver, compiled=compiled) as kernels:
        array = cuda.to_device(np.arange(70.0))
        _add[3, 32](array, 2.5)
        assert (array.copy_to_host() == np.arange(70.0) + 2.5).all()
    assert kernels.errors == kernels.unknown == []


def test_two_dimensions_and_block_indices_are_right(host_kernels):
    out = cuda.to_device(np.zeros((6, 5)))
    _place[(3, 3), (2, 2)](out)
    x, y = np.indices((6, 5))
    assert (out.copy_to_host() == 1000 * x + y + 1_000_000 * (x // 2)).all()


class _Colour(IntEnum):
    RED = 3


_Pair = namedtuple("_Pair", "first second")


def test_arguments_of_every_kind_arrive(host_kernels):
    @cuda.jit
    def take(out, flag, count, small, single, number, pair, mixed):
        out[0], out[1], out[2], out[3] = flag, count, small, single
        out[4], out[5], out[6], out[7] = number.real, number.imag, pair.first, pair.second
        out[8], out[9] = mixed[0], mixed[1][1]

    out = cuda.to_device(np.zeros(10))
    take[1, 1](out, True, -5, np.uint8(200), np.float32(1.5), 2 - 3j, _Pair(1, 2.5), (4, (5, 6.5)))
    assert out.copy_to_host().tolist() == [1, -5, 200, 1.5, 2, -3, 1, 2.5, 4, 6.5]


def test_enums_records_and_strided_views_arrive(host_kernels):
    @cuda.jit
    def take(out, colour, record, view):
        out[0] = 3 if colour == _Colour.RED else 0
        out[1], out[2], out[3], out[4] = record.x, record.y, view[1, 2], view.shape[0]

    record = np.array([(7, 0.5)], dtype=np.dtype([("x", "i4"), ("y", "f8")], align=True))[0]
    strided = cuda.to_device(np.arange(48.0).reshape(6, 8))[::2, 1::2]
    out = cuda.to_device(np.zeros(5))
    take[1, 1](out, _Colour.RED, record, strided)
    assert out.copy_to_host().tolist() == [3, 7, 0.5, 21, 3]


def test_arguments_are_those_of_the_moment_of_the_launch(driver, host_kernels):
    driver.set(deferred=1)
    array = cuda.to_device(np.zeros(8))
    for value in (1.0, 10.0, 100.0):
        _add[1, 8](array, value)
    assert (array.copy_to_host() == 111.0).all()


def test_a_kernel_that_is_gone_when_its_turn_comes_still_runs(driver, host_kernels):
    driver.set(deferred=1)
    array = cuda.to_device(np.zeros(8))

    @cuda.jit
    def short_lived(out):
        out[cuda.grid(1)] = math.sqrt(16.0)

    short_lived[1, 8](array)
    del short_lived
    assert (array.copy_to_host() == 4.0).all()


def test_a_kernel_without_source_is_named(driver, host_kernels):
    host_kernels._bodies.clear()
    array = cuda.to_device(np.zeros(8))
    _add[1, 8](array, 1.0)
    cuda.synchronize()
    name = next(k.entry_name for k in _add.overloads.values())
    host_kernels._bodies[name] = None
    _add[1, 8](array, 1.0)
    assert (array.copy_to_host() == 1.0).all()
    assert host_kernels.unknown == [name]


def test_a_body_by_name_gets_the_bytes_of_its_arguments(host_kernels):
    array = cuda.to_device(np.zeros(8))
    _add[1, 8](array, 1.0)
    cuda.synchronize()
    seen = []
    name = next(k.entry_name for k in _add.overloads.values())
    host_kernels.register(name, lambda grid, block, *blocks: seen.append((grid, block, blocks[-1])))
    _add[1, 8](array, 2.5)
    cuda.synchronize()
    assert seen == [((1, 1, 1), (8, 1, 1), np.float64(2.5).tobytes())]


def test_shared_memory_is_refused_by_name(driver, host_kernels):
    with HostKernels(driver, sticky=False) as kernels:
        _shares[1, 32](cuda.to_device(np.zeros(32)))
        cuda.synchronize()
    (error,) = kernels.errors
    assert isinstance(error, NotModelledError)
    assert "cuda.shared" in str(error)


def test_a_source_can_be_run_without_any_launch():
    array = np.zeros(70)
    host_kernel(_add.py_func)((3, 1, 1), (32, 1, 1), array, 2.5)
    assert (array == 2.5).all()


def test_what_the_compiler_found_out_about_a_kernel_can_be_asked(host_kernels):
    array = cuda.to_device(np.zeros(32))
    with HostKernels(host_kernels._driver, sticky=False):
        _shares[1, 32](array)
        cuda.synchronize()
    kernel = next(iter(_shares.overloads.values()))
    assert kernel.shared_mem_per_block == 32 * 8
    assert kernel.max_threads_per_block == 1024
    assert 0 < kernel.regs_per_thread < 64
    assert kernel.local_mem_per_thread == 0


def test_a_launch_that_no_device_could_take_is_refused(host_kernels):
    from cuda.core._utils.cuda_utils import CUDAError

    with pytest.raises(CUDAError, match="INVALID_VALUE"):
        _add[1, 2048](cuda.to_device(np.zeros(8)), 1.0)


def test_four_threads_launch_fifty_times_each(host_kernels):
    results = []

    def work():
        stream = cuda.stream()
        array = cuda.to_device(np.zeros(8), stream=stream)
        for _ in range(50):
            _add[1, 8, stream](array, 1.0)
        stream.synchronize()
        results.append(array.copy_to_host(stream=stream))

    _add[1, 8](cuda.to_device(np.zeros(8)), 1.0)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 4
    assert all((result == 50).all() for result in results)
