"""Whose native threads are there for good: those of pools and of drivers, by the name of the library."""

from __future__ import annotations

import pytest

from pytest_gpuguard.track.natives import pool


@pytest.mark.parametrize(
    "file",
    [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ptxjitcompiler.so.535.54",
        "/opt/cuda/lib64/libcudart.so.12",
        "/opt/cuda/lib64/libnvrtc.so.12",
        "/usr/lib/libgomp.so.1",
        "/site/numpy.libs/libscipy_openblas64_-ff651d7f.so",
        "/site/mkl/libmkl_intel_thread.so.2",
        "/site/numba/np/ufunc/workqueue.cpython-311-x86_64-linux-gnu.so",
        "/site/numba/np/ufunc/omppool.cpython-311-x86_64-linux-gnu.so",
        "/site/numba/np/ufunc/tbbpool.cpython-311-x86_64-linux-gnu.so",
        "/site/torch/lib/libtorch_cpu.so",
        "/site/pyarrow/libarrow.so.1600",
    ],
)
def test_pools_and_drivers_keep_theirs(file):
    assert pool(file) == f"{file.rpartition('/')[2]} keeps its threads for good"


@pytest.mark.parametrize("file", ["/site/suite/libsolver.so", "/home/me/torch_tests/_native.so", ""])
def test_of_others_nothing_is_known(file):
    assert pool(file) is None
