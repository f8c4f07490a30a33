"""Whether the devices at hand can do what a test needs, however many claims are made on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.devices.discovery import Discovery
    from pytest_gpuguard.plan.demand import Demand

__all__ = ["unmet"]


def unmet(demand: Demand, simulated: bool, discovered: Callable[[], Discovery]) -> str | None:
    """Return what a demand needs and what there is instead; None when it can be met.

    A demand that names neither ``simulator=False`` nor ``capability`` may be of a test that gets by without
    any device. The simulator has no capability to fall short of.

    Parameters
    ----------
    demand
        What somebody needs.
    simulated
        Whether numba runs its simulator.
    discovered
        Returns the devices of this process; called only when they matter.
    """
    if demand.simulator and demand.capability is None:
        return None
    if simulated and demand.simulator:
        return None
    if simulated:
        return "needs a real device (simulator=False), and numba runs its simulator (NUMBA_ENABLE_CUDASIM)"
    found = discovered()
    if not found.devices:
        return f"needs a real device, and there is none: {found.evidence}"
    wanted = demand.capability
    for device in found.devices[: demand.count]:
        if wanted is not None and device.capability is not None and device.capability < wanted:
            return (
                f"needs compute capability {_version(wanted)}, "
                f"and {device.name} ({device.uuid}) has {_version(device.capability)}"
            )
    return None


def _version(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
