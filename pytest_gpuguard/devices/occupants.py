"""Who has memory on a device, whoever they are: asked of NVML, in bounded time, without starting CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_gpuguard.devices.bounded import within
from pytest_gpuguard.devices.discovery import asked

__all__ = ["Occupancy", "occupancy"]

_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Free and total bytes of a device, and bytes by pid; None where the driver does not tell."""

    uuid: str
    free: int
    total: int
    users: tuple[tuple[int, int | None], ...] = ()


def occupancy(uuid: str, patience: float = _PATIENCE) -> Occupancy | str:
    """Return who uses a device, or why nobody can say."""
    try:
        import pynvml
    except ImportError:
        return "not known: install nvidia-ml-py"
    try:
        return within(patience, lambda: _occupancy(pynvml, uuid))
    except (pynvml.NVMLError, TimeoutError) as error:
        return f"not known: NVML: {error}"


def _occupancy(nvml: Any, uuid: str) -> Occupancy:
    with asked(nvml):
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            found = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError:  # such as of a part
            found = []
        users = tuple((int(user.pid), user.usedGpuMemory) for user in found)
        return Occupancy(uuid, int(memory.free), int(memory.total), users)
