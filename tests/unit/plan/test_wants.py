"""Which skips are for want of a device."""

from __future__ import annotations

import pytest

from pytest_gpuguard.plan.wants import is_want


@pytest.mark.parametrize(
    "reason",
    [
        "needs a device: numba finds no device, and its simulator is off: x",
        "needs a real device, and there is none: NVML: Driver Not Loaded",
        "needs a real device (simulator=False), and numba runs its simulator (NUMBA_ENABLE_CUDASIM)",
        "fixture held needs a real device, and there is none: y",
        "no CUDA GPU",
        "requires GPU",
        "CUDA is not available",
        "CUDA unavailable",
        "GPU only",
        "could not import 'cupy': No module named 'cupy'",
    ],
)
def test_a_want(reason):
    assert is_want(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "needs compute capability 9.0, and NVIDIA A100 (GPU-1) has 8.0",
        "requires two GPUs",
        "needs multi-GPU",
        "needs 40 GB of GPU memory",
        "not supported on cudasim",
        "CUDA simulator only",
        "requires CUDA >= 12.4",
        "needs CUDA 13",
        "GPG303: asked for more than the budget has of the device",
        "slow",
        "needs a network",
        "flaky on the device",
        "",
    ],
)
def test_something_else(reason):
    assert not is_want(reason)
