"""What this host has, in the words of the budget: which limits hold, which devices a demand falls on."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.limits import default_limits, device_limits
from pytest_gpuguard.devices.discovery import discover
from pytest_gpuguard.devices.modes import mode_of
from pytest_gpuguard.devices.trim import simulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.plan.demand import Demand

__all__ = ["SLOTS", "Host", "slots_of"]

#: Places on a device: one for each claim that shares it, all of them for an exclusive one.
SLOTS = 64

_SIMULATED = "sim"
# A simulated device's memory is the host's: half of it, in terms of the eighth that may be pinned.
_OF_PINNED = 4


def slots_of(device: str) -> str:
    """Return the resource that counts the places on a device, given the one that counts its bytes."""
    return f"{device}.slots"


class Host:
    """Limits and devices, found once.

    Parameters
    ----------
    given
        The switch ``budget``; ``gpu`` in it means each device.

    Attributes
    ----------
    limits
        The whole of each resource.
    devices
        Resources of the devices' bytes by what NVML calls the device, in CUDA's order.
    real
        Whether there is a device at all, other than a simulated one.
    notes
        What people should know.
    """

    def __init__(self, given: Mapping[str, int] | None, environ: Mapping[str, str] = os.environ) -> None:
        stated = dict(given or {})
        each = stated.pop("gpu", None)
        self.notes: list[str] = []
        self._names: dict[str, str] = {}
        self.limits = default_limits()
        totals = self._look(environ, each is not None)
        self.real = bool(totals) and _SIMULATED not in totals
        self.devices = {f"gpu.{uuid.lower().replace('/', '-')}": uuid for uuid in totals}
        #: The devices as the record has them, by the resource of their bytes.
        self.described = {
            resource: {
                "uuid": uuid,
                "name": self._names.get(uuid, "simulated device"),
                "index": index,
                "mode": mode_of(self._names.get(uuid, "")) if self.real else "sim",
                "total_bytes": totals[uuid] if self.real else None,
            }
            for index, (resource, uuid) in enumerate(self.devices.items())
        }
        for device, uuid in self.devices.items():
            derived = device_limits({uuid: totals[uuid]}) if self.real else {}
            self.limits[device] = next(iter(derived.values()), totals[uuid]) if each is None else each
            self.limits[slots_of(device)] = SLOTS
        self.limits |= stated
        #: Resources whose limit was set by hand.
        self.stated = frozenset(stated) | (frozenset(self.devices) if each is not None else frozenset())

    def _look(self, environ: Mapping[str, str], given: bool) -> dict[str, int]:
        """Return the bytes of each device by uuid."""
        if not simulated(environ.get("NUMBA_ENABLE_CUDASIM")):
            found = discover(environ)
            if found.devices:
                self.notes += [found.evidence] if found.evidence else []
                self._names = {device.uuid: device.name for device in found.devices}
                return {device.uuid: device.total for device in found.devices}
            self._why_none = found.evidence
            if not given:
                return {}
        return {_SIMULATED: _OF_PINNED * self.limits["pinned"]}

    def amounts(self, demand: Demand) -> dict[str, int]:
        """Return what to claim for a demand.

        A demand for more devices than there are falls on one that nobody has, so that it is refused.
        """
        wants = Counter({"pinned": demand.pinned, "pinned.regions": demand.regions})
        wants.update({name: amount for name, amount in demand.resources.items() if name != "pinned.regions"})
        if not self.devices:
            if demand.memory:
                self._once(f"demands for device memory are not budgeted: {self._why_none}")
            return {name: amount for name, amount in wants.items() if amount}
        for device in self._placed(demand.count):
            wants[device] += demand.memory
            wants[slots_of(device)] = SLOTS if demand.exclusive else 1
        return {name: amount for name, amount in wants.items() if amount}

    def _placed(self, count: int) -> list[str]:
        # One simulated device stands for as many as somebody wants.
        devices = list(self.devices)[:count]
        missing = count - len(devices) if self.real else 0
        return devices + [f"gpu.number-{len(devices) + number}" for number in range(missing)]

    def _once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
