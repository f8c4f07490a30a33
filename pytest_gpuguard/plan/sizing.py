"""How many workers are of use: the fewest that processors, devices and the needs of tests leave room for."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.plan.rehearsal import lower_bound
from pytest_gpuguard.plan.suite import Need, Suite
from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuguard.devices.discovery import Device
    from pytest_gpuguard.plan.suite import Amounts

__all__ = ["Room", "on_any_device", "room_by_devices", "room_by_needs", "room_by_processors"]

# So much longer may a run take with fewer workers: each costs its start, its imports and its memory.
_HARDLY_LONGER = 1.05


class Room(NamedTuple):
    """Room for so many workers, and why not for more."""

    workers: int
    why: str


def room_by_processors(processors: float) -> Room:
    """Return room for one worker on each whole processor that this process may use; one at least."""
    workers = max(1, int(processors))
    return Room(workers, f"this process may use {processors:g} processor{'s' * (processors != 1)}")


def room_by_devices(devices: Sequence[Device], limits: Amounts, context: int, largest: int) -> Room | None:
    """Return room for workers on devices; None where there is no device.

    Parameters
    ----------
    devices
        What workers are given in turn.
    limits
        Bytes that may be claimed of each device, by its uuid.
    context
        Bytes that each worker keeps of its device.
    largest
        Bytes that the largest test is known to claim beside.
    """
    usable = [device for device in devices if device.mode != "PROHIBITED"]
    if not usable:
        return None
    if any(device.mode == "EXCLUSIVE_PROCESS" for device in usable):
        return Room(len(usable), f"{_number(usable)} in mode EXCLUSIVE_PROCESS take one process each")
    if not context:
        return None
    each = [max(1, (limits[device.uuid] - largest) // context) for device in usable]
    beside = f" beside a test of {format_bytes(largest)}" if largest else ""
    # Workers take devices in turn: the smallest one counts.
    room = min(each) * len(usable)
    why = f"{_number(usable)} have room for {room} CUDA contexts of {format_bytes(context)}{beside}"
    return Room(room, why)


def _number(devices: Sequence[Device]) -> str:
    return f"{len(devices)} device{'s' * (len(devices) != 1)}"


def room_by_needs(
    claims: Mapping[str, Amounts], seconds: Mapping[str, float], limits: Amounts, most: int
) -> Room | None:
    """Return the fewest workers with which a run need hardly take longer than with ``most``.

    Parameters
    ----------
    claims, seconds
        What tests claimed and took in runs before, by node id. None is returned where no test claimed.
    limits
        The whole of each resource.
    """
    ids = [nodeid for nodeid in seconds if nodeid in claims]
    if not ids:
        return None
    ids += [nodeid for nodeid in seconds if nodeid not in claims]
    needs = [Need(dict(claims[nodeid])) for nodeid in ids if nodeid in claims]
    suite = Suite(len(ids), needs={test: test for test in range(len(needs))})
    times = [seconds[nodeid] for nodeid in ids]
    shortest = lower_bound(suite, needs, limits, times, most)
    for workers in range(1, most):
        if lower_bound(suite, needs, limits, times, workers) <= _HARDLY_LONGER * shortest:
            return Room(workers, f"more would wait: {_scarce(needs, times, limits)}")
    return Room(most, "")


def _scarce(needs: Sequence[Need], seconds: Sequence[float], limits: Amounts) -> str:
    """Say which resource tests take longest, in parts of all there is."""
    taken: dict[str, float] = defaultdict(float)
    for need, time in zip(needs, seconds, strict=False):
        for name, amount in need.amounts.items():
            if limits.get(name):
                taken[name] += amount / limits[name] * time
    name = max(taken, key=lambda name: taken[name], default="")
    return f"{len(needs)} tests share {name} in runs before" if name else "one test takes longest"


def on_any_device(amounts: Amounts) -> dict[str, int]:
    """Return ``amounts`` with those of all devices taken together: which one it was differs by worker."""
    together = Counter[str]()
    for name, amount in amounts.items():
        device = name.startswith("gpu.")
        together["gpu.slots" if device and name.endswith(".slots") else "gpu" if device else name] += amount
    return dict(together)
