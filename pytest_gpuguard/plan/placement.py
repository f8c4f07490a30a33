"""Which devices each worker sees: its own first, and none that takes one process alone twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_gpuguard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.devices.discovery import Device

__all__ = ["chosen", "distribute"]


def chosen(devices: Sequence[Device], how: str) -> list[Device]:
    """Return the devices to hand out.

    Parameters
    ----------
    devices
        What the caller has, in CUDA's order.
    how
        ``auto``, ``isolate``, or indexes into ``devices`` and uuids (cut short where that is unique).

    Raises
    ------
    ValueError
        An entry names none or several of them, or one for the second time.
    """
    if how in {"auto", "isolate"}:
        return list(devices)
    found: list[Device] = []
    for entry in (part.strip() for part in how.split(",")):
        matches = _matching(devices, entry)
        if len(matches) != 1:
            have = ", ".join(f"{number} {device.uuid}" for number, device in enumerate(devices)) or "none"
            message = f"{entry!r} names {len(matches)} of the devices that the caller has: {have}"
            raise ValueError(message)
        if matches[0] in found:
            message = f"{entry!r} names a device for the second time"
            raise ValueError(message)
        found += matches
    return found


def _matching(devices: Sequence[Device], entry: str) -> list[Device]:
    if entry.isdecimal():
        return list(devices[int(entry) : int(entry) + 1])
    return [device for device in devices if device.uuid.startswith(entry)]


def distribute(devices: Sequence[Device], workers: int, *, isolate: bool) -> list[list[str]]:
    """Return the uuids that each worker sees, in its order; an empty list where nobody takes a context.

    Parameters
    ----------
    devices
        What there is to hand out.
    workers
        How many workers there are.
    isolate
        Hide the others; else they come behind a worker's own, so that a test for two devices has two.

    Raises
    ------
    GuardError
        GPG402: there are more workers than devices, and one that would be shared takes one process alone.
    """
    usable = [device for device in devices if device.mode != "PROHIBITED"]
    if not usable:
        return []
    turns = [number % len(usable) for number in range(workers)]
    _refuse_sharing(usable, turns)
    return [_seen_from(usable, turn, isolate=isolate) for turn in turns]


def _refuse_sharing(usable: Sequence[Device], turns: Sequence[int]) -> None:
    for turn, users in Counter(turns).items():
        device = usable[turn]
        if users > 1 and device.mode == "EXCLUSIVE_PROCESS":
            message = (
                f"{len(turns)} workers for {len(usable)} device(s): {users} of them would share "
                f"{device.name} ({device.uuid}), whose compute mode EXCLUSIVE_PROCESS lets one process in\n"
                f"  run with -n {len(usable)}, or as administrator: nvidia-smi -i {device.uuid} -c DEFAULT"
            )
            raise GuardError("GPG402", message)


def _seen_from(usable: Sequence[Device], turn: int, *, isolate: bool) -> list[str]:
    own = usable[turn]
    # CUDA shows a process one MIG part, whatever it lists.
    if isolate or own.parent is not None:
        return [own.uuid]
    others = [device.uuid for device in (*usable[turn + 1 :], *usable[:turn]) if device.parent is None]
    return [own.uuid, *others]
