"""How many workers are of use."""

from __future__ import annotations

import pytest

from pytest_gpuguard.devices.discovery import Device
from pytest_gpuguard.plan.sizing import on_any_device, room_by_devices, room_by_needs, room_by_processors

GIB = 1 << 30


def devices(*modes):
    return [Device(f"GPU-{number}", "X", 16 * GIB, mode=mode) for number, mode in enumerate(modes)]


@pytest.mark.parametrize(("processors", "workers"), [(8, 8), (2.5, 2), (0.5, 1)])
def test_each_worker_has_a_processor(processors, workers):
    assert room_by_processors(processors).workers == workers


def test_devices_that_take_one_process_take_one_worker_each():
    room = room_by_devices(devices("EXCLUSIVE_PROCESS", "EXCLUSIVE_PROCESS", "PROHIBITED"), {}, 0, 0)
    assert room is not None
    assert room.workers == 2
    assert "2 devices in mode EXCLUSIVE_PROCESS take one process each" in room.why


def test_contexts_of_all_workers_fit_beside_the_largest_test():
    limits = {"GPU-0": 8 * GIB, "GPU-1": 4 * GIB}
    room = room_by_devices(devices("DEFAULT", "DEFAULT"), limits, GIB, 2 * GIB)
    assert room is not None
    assert room.workers == 4
    assert "4 CUDA contexts of 1.00 GiB beside a test of 2.00 GiB" in room.why
    # A test too large for any device is refused, and no reason to run nothing.
    room = room_by_devices(devices("DEFAULT"), {"GPU-0": 8 * GIB}, GIB, 20 * GIB)
    assert room is not None
    assert room.workers == 1


def test_without_devices_and_contexts_they_are_no_reason():
    assert room_by_devices([], {}, GIB, 0) is None
    assert room_by_devices(devices("PROHIBITED"), {}, GIB, 0) is None
    assert room_by_devices(devices("DEFAULT"), {"GPU-0": GIB}, 0, 0) is None


def test_workers_that_would_only_wait_are_none():
    # 12 tests of which two fit at once, and as much to do without them.
    claims = {f"heavy {number}": {"pinned": 50} for number in range(12)}
    seconds = dict.fromkeys(claims, 1.0) | {f"free {number}": 0.5 for number in range(12)}
    room = room_by_needs(claims, seconds, {"pinned": 100}, 8)
    assert room is not None
    assert room.workers == 3
    assert room.why == "more would wait: 12 tests share pinned in runs before"
    # With little else to do than what excludes each other, one will do.
    alone = room_by_needs({"a": {"pinned": 60}, "b": {"pinned": 60}}, {"a": 1, "b": 1}, {"pinned": 100}, 8)
    assert alone is not None
    assert alone.workers == 1


def test_where_nothing_was_claimed_or_all_fits_nobody_is_left_out():
    assert room_by_needs({}, {"a": 1.0}, {"pinned": 100}, 8) is None
    room = room_by_needs(
        {"a": {"pinned": 1}}, {str(number): 1.0 for number in range(80)} | {"a": 1.0}, {"pinned": 100}, 8
    )
    assert room is not None
    assert room.workers == 8


def test_all_devices_are_one():
    amounts = {"pinned": 1, "gpu.a": 2, "gpu.b": 3, "gpu.a.slots": 1, "licences": 4}
    assert on_any_device(amounts) == {"pinned": 1, "gpu": 5, "gpu.slots": 1, "licences": 4}
