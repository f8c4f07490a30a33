"""Tests that run in the fake lane alone; `tests/fakecuda/test_inside.py` starts them there."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from tests.fakecuda import control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakecuda.kernels import HostKernels

if not os.environ.get("FAKECUDA_DIR"):
    # Elsewhere they would run against the simulator, or a GPU.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def driver() -> Iterator[control.Driver]:
    """The fake driver of this process, as new: nothing queued for freeing, no faults, no latency."""
    from numba import cuda

    found = control.attach()
    context = cuda.current_context()
    cuda.synchronize()
    context.memory_manager.deallocations.clear()
    context.deallocations.clear()
    with found.setting(**dict.fromkeys(("deferred", "compute_seconds", "h2d_seconds", "d2h_seconds"), 0)):
        yield found
        found.fail()
        assert found.sticky == 0, "a test in a shared process must not leave a sticky error"
        with found.setting(deferred=0):
            cuda.synchronize()


@pytest.fixture
def host_kernels(driver: control.Driver) -> Iterator[HostKernels]:
    """Bodies for all kernels; skips without the compilers that numba-cuda needs."""
    if importlib.util.find_spec("nvidia") is None:
        pytest.skip("no CUDA compiler: the package 'nvidia' cannot be imported (extra 'compile')")
    from tests.fakecuda.kernels import HostKernels

    with HostKernels(driver) as kernels:
        yield kernels
