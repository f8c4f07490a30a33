"""What tests run on: a device, numba's simulator, the driver of this project's own tests, or nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from pytest_gpuguard.devices.discovery import discovered
from pytest_gpuguard.devices.health import device_in_use
from pytest_gpuguard.devices.trim import simulated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["mode_here", "mode_of", "mode_used"]

#: How the fake driver of this project's tests names its devices.
_FAKE = "FakeCUDA"


def mode_of(name: str) -> Literal["gpu", "fake"]:
    """Return the mode of a device by its model."""
    return "fake" if name.startswith(_FAKE) else "gpu"


def mode_here(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return what tests of this process can run on, and the evidence: gpu, fake, sim or none."""
    if simulated(environ.get("NUMBA_ENABLE_CUDASIM")):
        return "sim", "NUMBA_ENABLE_CUDASIM is set"
    found = discovered()
    if not found.devices:
        return "none", found.evidence
    names = [device.name for device in found.devices]
    shown = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return mode_of(names[0]), shown


def mode_used() -> str:
    """Return what this process has used so far; costs a microsecond."""
    name = device_in_use()
    if name is not None:
        return mode_of(name)
    return "sim" if "numba.cuda" in sys.modules and simulated(None) else "none"
