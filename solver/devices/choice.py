"""Which device a backend's name stands for on this machine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

from solver.devices.cpu import HostDevice

if TYPE_CHECKING:
    from solver.devices.device import Device

__all__ = ["Backend", "open_device"]

Backend = Literal["auto", "cuda", "sim", "cpu", "python"]
"""Where a batch is solved; ``auto`` takes CUDA where a device works, else the processor."""

_NAMES = ("auto", "cuda", "sim", "cpu", "python")


def open_device(backend: Backend | Device | HostDevice) -> Device | HostDevice:
    """Return the device for a backend's name; a device is returned as it is.

    Raises
    ------
    ValueError
        When the name is not known.
    RuntimeError
        When that backend cannot work here, with what to do.
    """
    if not isinstance(backend, str):
        return backend
    if backend not in _NAMES:
        message = f"backend {backend!r} is not known; use one of {', '.join(map(repr, _NAMES))}, or a device"
        raise ValueError(message)
    if backend == "cpu" or (backend == "auto" and _reason_against_cuda() is not None):
        return HostDevice()
    if backend == "python":
        return HostDevice("python", threads=1)
    if backend == "sim":
        return _simulator()
    if reason := _reason_against_cuda():
        raise RuntimeError(reason)
    from solver.devices.cuda import CudaDevice

    return CudaDevice()


def _simulated() -> bool:
    # Read by numba when its CUDA target is first imported, for the whole process.
    return bool(importlib.import_module("numba.cuda.core.config").ENABLE_CUDASIM)


def _simulator() -> Device:
    if not _simulated():
        message = "backend 'sim' needs the simulator; set NUMBA_ENABLE_CUDASIM=1 before numba is imported"
        raise RuntimeError(message)
    from solver.devices.virtual import VirtualDevice

    return VirtualDevice()


def _reason_against_cuda() -> str | None:
    """Return why CUDA cannot be used in this process, with what to do; ``None`` when it can."""
    instead = "use backend='cpu', or set NUMBA_ENABLE_CUDASIM=1 before numba is imported and use 'sim'"
    try:
        if _simulated():
            return "numba simulates 'cuda' in this process; unset NUMBA_ENABLE_CUDASIM and start again"
        cuda = importlib.import_module("numba.cuda")
    except ModuleNotFoundError as error:
        return f"numba's CUDA target is not installed ({error}): pip install numba-cuda; or {instead}"
    if cuda.is_available():
        return None
    reason = " ".join(str(cuda.cuda_error() or "none found").split())
    return f"no CUDA device works here ({reason}); {instead}"
