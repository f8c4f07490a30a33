"""The fixtures `pinned_array` and `gpu_closing` on a device."""

from __future__ import annotations

import numpy as np
import pytest
from numba import cuda


def test_a_page_locked_array_takes_part_in_copies(gpu, gpu_stream, pinned_array):
    host, back = pinned_array(100), pinned_array((10, 10), "float64")
    host[:] = np.arange(100)
    array = cuda.to_device(host, stream=gpu_stream)
    array.copy_to_host(back.reshape(100), stream=gpu_stream)
    gpu_stream.synchronize()
    assert back.tolist() == np.arange(100.0).reshape(10, 10).tolist()


@pytest.mark.parametrize(("shape", "dtype", "nbytes"), [(8, "u1", 8), ((2, 3), np.float32, 24), (5, bool, 5)])
def test_shape_and_type_are_numpy_s(pinned_array, shape, dtype, nbytes):
    array = pinned_array(shape, dtype)
    assert array.shape == ((shape,) if isinstance(shape, int) else shape)
    assert array.dtype == np.dtype(dtype)
    assert array.nbytes == nbytes


def test_page_locked_arrays_of_a_module(module_pinned_array, session_pinned_array):
    assert len(module_pinned_array(3)) == len(session_pinned_array(3)) == 3


class _Holder:
    def __init__(self, array):
        self.array, self.closed = array, False

    def close(self):
        self.closed, self.array = True, None


_closed = []


def test_what_was_given_is_closed_at_the_end(gpu, gpu_closing, pinned_array):
    _closed.append(gpu_closing(_Holder(pinned_array(10))))
    assert not _closed[0].closed


def test_the_one_before_was_closed():
    if not _closed:
        pytest.skip("the test before ran in another process")
    assert _closed[0].closed
