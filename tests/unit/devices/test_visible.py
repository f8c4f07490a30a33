"""The grammar of CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import pytest

from pytest_gpuguard.devices.visible import visible

A, B, C = "GPU-aa11", "GPU-aa22", "GPU-cc33"


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        (None, [A, B, C]),
        ("", []),
        ("-1", []),
        ("2,0", [C, A]),
        (" 1 , 2", [B, C]),
        ("0,2,-1,1", [A, C]),
        ("0,7,1", [A]),
        ("1gpu2", [B]),
        ("1,1", []),
        ("GPU-cc", [C]),
        ("GPU-aa", []),
        ("GPU-cc,GPU-aa11", [C, A]),
        ("GPU-cc,0", [C]),
        ("0,GPU-cc", [A]),
        ("MIG-m1,MIG-m2", ["MIG-m1"]),
        ("MIG-x", []),
        ("none", []),
    ],
)
def test_as_the_driver_reads_it(setting, seen):
    assert visible(setting, [A, B, C], ["MIG-m1", "MIG-m2"]) == seen
