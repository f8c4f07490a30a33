"""Which worker sees which devices."""

from __future__ import annotations

import pytest

from pytest_gpuguard.devices.discovery import Device
from pytest_gpuguard.devices.visible import choices
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.plan.placement import chosen, distribute

A, B, C = (Device(f"GPU-{name}", "X", 1) for name in "abc")
M, N = (A._replace(uuid=f"MIG-{name}", parent="GPU-p") for name in "mn")


@pytest.mark.parametrize(
    ("devices", "workers", "isolate", "seen"),
    [
        ([B, A], 4, False, ["b,a", "a,b", "b,a", "a,b"]),
        ([B, A], 4, True, ["b", "a", "b", "a"]),
        ([A, B, C], 2, False, ["a,b,c", "b,c,a"]),
        ([A], 3, False, ["a", "a", "a"]),
        ([M, N], 3, False, ["m", "n", "m"]),
        ([A, M], 2, False, ["a", "m"]),
        ([A, B._replace(mode="PROHIBITED"), C], 2, False, ["a,c", "c,a"]),
        ([A._replace(mode="PROHIBITED")], 2, False, []),
        ([A._replace(mode="EXCLUSIVE_PROCESS"), B], 2, False, ["a,b", "b,a"]),
        ([A._replace(mode="EXCLUSIVE_PROCESS"), B, C], 3, True, ["a", "b", "c"]),
        ([], 2, False, []),
    ],
)
def test_each_worker_sees_its_own_first(devices, workers, isolate, seen):
    found = distribute(devices, workers, isolate=isolate)
    assert [",".join(uuid[4:] for uuid in uuids) for uuids in found] == seen


def test_more_workers_than_exclusive_devices_are_refused():
    exclusive = [device._replace(mode="EXCLUSIVE_PROCESS") for device in (A, B)]
    with pytest.raises(GuardError, match=r"3 workers for 2 device.s.: 2 of them would share X \(GPU-a\)"):
        distribute(exclusive, 3, isolate=False)


@pytest.mark.parametrize(
    ("how", "devices"),
    [("auto", [A, B, C]), ("isolate", [A, B, C]), ("2,0", [C, A]), ("GPU-b, 0", [B, A])],
)
def test_a_list_indexes_what_the_caller_has(how, devices):
    assert chosen([A, B, C], how) == devices


@pytest.mark.parametrize(
    ("how", "why"), [("3", "names 0"), ("GPU-", "names 3"), ("0,GPU-a", "second time"), ("GPU-x", "names 0")]
)
def test_entries_that_name_no_single_device_are_refused(how, why):
    with pytest.raises(ValueError, match=why):
        chosen([A, B, C], how)


PARTS = {"GPU-p": ["MIG-m", "MIG-n"]}


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        (None, ["GPU-a", "MIG-m", "MIG-n"]),
        ("1", ["MIG-m", "MIG-n"]),
        ("GPU-p,GPU-a", ["MIG-m", "MIG-n", "GPU-a"]),
        ("MIG-n,MIG-m", ["MIG-n", "MIG-m"]),
        ("MIG-n,MIG-x,MIG-m", ["MIG-n"]),
        ("MIG-n,MIG-n", []),
        ("MIG-n,0", ["MIG-n"]),
        ("0", ["GPU-a"]),
        ("-1", []),
    ],
)
def test_every_part_can_be_handed_out(setting, found):
    assert choices(setting, ["GPU-a", "GPU-p"], PARTS) == found
