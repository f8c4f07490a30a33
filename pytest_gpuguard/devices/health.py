"""Whether the CUDA contexts of this process still work; nothing here starts CUDA or makes a context.

An error of a kernel ends its context: every later call that has to do with work or memory fails with it until
the process ends. Whoever runs next in that process fails innocently.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from pytest_gpuguard.devices.bounded import within
from pytest_gpuguard.devices.trim import simulated, started

__all__ = ["STICKY", "device_in_use", "glance", "possible", "unusable"]

#: Errors after which, as the driver's documentation says, the process has to be ended.
STICKY = {
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    220: "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    226: "CUDA_ERROR_CONTAINED",
    700: "CUDA_ERROR_ILLEGAL_ADDRESS",
    702: "CUDA_ERROR_LAUNCH_TIMEOUT",
    710: "CUDA_ERROR_ASSERT",
    714: "CUDA_ERROR_HARDWARE_STACK_ERROR",
    715: "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    716: "CUDA_ERROR_MISALIGNED_ADDRESS",
    717: "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    718: "CUDA_ERROR_INVALID_PC",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    721: "CUDA_ERROR_TENSOR_MEMORY_LEAK",
    810: "CUDA_ERROR_MPS_CLIENT_TERMINATED",
    911: "CUDA_ERROR_EXTERNAL_DEVICE",
}

_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED
#: Libraries that start CUDA in ways that :func:`~pytest_gpuguard.devices.trim.started` does not see.
_OTHERS = ("cupy", "cuda.core", "pycuda", "jaxlib")

_STARTERS = frozenset({"numba.cuda.cudadrv.driver", "torch", *_OTHERS})
#: What numba loads also where it simulates everything: no sign of a device then.
_SIMULATED = frozenset({"numba.cuda.cudadrv.driver", "cuda.core"})

_library: Any = None


def _loaded() -> Any:
    """Return the driver's library if somebody has loaded it into this process, else None."""
    global _library  # noqa: PLW0603 - once found it stays: it is never unloaded
    if _library is None and hasattr(os, "RTLD_NOLOAD"):
        try:
            _library = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
        except OSError:
            return None
    return _library


def possible() -> bool:
    """Return whether anybody is loaded who can start CUDA."""
    if _library is not None:
        return True
    starters = _STARTERS - _SIMULATED if simulated(None) else _STARTERS
    return not sys.modules.keys().isdisjoint(starters)


def _in_use() -> Any:
    """Return the driver's library if the calling thread has a context, else None."""
    if not possible():
        return None
    if _library is None and started() is None and not any(name in sys.modules for name in _OTHERS):
        return None
    driver, context = _loaded(), ctypes.c_void_p()
    if driver is None or driver.cuCtxGetCurrent(ctypes.byref(context)) or not context.value:
        return None
    return driver


def device_in_use() -> str | None:
    """Return the model of the device of the calling thread's context; None without one."""
    driver, device, name = _in_use(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver is None or driver.cuCtxGetDevice(ctypes.byref(device)):
        return None
    return None if driver.cuDeviceGetName(name, len(name), device) else name.value.decode(errors="replace")


def glance() -> int:
    """Return the sticky error of the calling thread's context, as far as it has come to light, or 0.

    Costs microseconds and waits for nothing: work that still runs may fail later.
    """
    driver = _in_use()
    return 0 if driver is None else _sticky(_unseen(driver, driver.cuStreamQuery, None))


def unusable(patience: float) -> int:
    """Return the sticky error of any context of this process, or 0.

    Waits for the work of the contexts, in a thread of its own.

    Parameters
    ----------
    patience
        Longest wait in seconds. What takes longer is no sign of an error.
    """
    driver = _loaded()
    if driver is None:
        return 0
    context = ctypes.c_void_p()
    driver.cuCtxGetCurrent(ctypes.byref(context))
    try:
        return within(patience, lambda: _asked(driver, context))
    except TimeoutError:
        return 0


def _asked(driver: Any, current: ctypes.c_void_p) -> int:
    if current.value and (code := _synchronized(driver, current)):
        return code
    count, flags, active = ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0  # CUDA was not started, or before a fork
    for device in range(count.value):
        state = driver.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
        if not state and active.value and (code := _of_device(driver, device)):
            return code
    return 0


def _of_device(driver: Any, device: int) -> int:
    context = ctypes.c_void_p()
    # It is there already: this makes none, and lends it to this thread.
    code = driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if code:
        return _sticky(code)
    try:
        return _synchronized(driver, context)
    finally:
        driver.cuDevicePrimaryCtxRelease(device)


def _synchronized(driver: Any, context: ctypes.c_void_p) -> int:
    driver.cuCtxSetCurrent(context)
    return _sticky(_unseen(driver, driver.cuCtxSynchronize))


def _unseen(driver: Any, call: Any, *arguments: Any) -> int:
    """Return what a call returns, made so that it breaks nobody's capture of a graph."""
    mode, exchange = ctypes.c_int(_RELAXED), getattr(driver, "cuThreadExchangeStreamCaptureMode", None)
    if exchange is None:
        return int(call(*arguments))
    exchange(ctypes.byref(mode))
    try:
        return int(call(*arguments))
    finally:
        exchange(ctypes.byref(mode))


def _sticky(code: int) -> int:
    return code if code in STICKY else 0
