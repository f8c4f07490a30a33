"""What a loaded CUDA driver tells of the contexts of this process; asked once there is one, and so apart."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["STICKY", "current", "glanced", "model", "worked"]

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


def current(driver: Any) -> ctypes.c_void_p | None:
    """Return the context of the calling thread, or None."""
    context = ctypes.c_void_p()
    return context if not driver.cuCtxGetCurrent(ctypes.byref(context)) and context.value else None


def model(driver: Any) -> str | None:
    """Return the model of the device of the calling thread's context."""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuCtxGetDevice(ctypes.byref(device)):
        return None
    return None if driver.cuDeviceGetName(name, len(name), device) else name.value.decode(errors="replace")


def glanced(driver: Any) -> int:
    """Return the sticky error of the calling thread's context, as far as it has come to light, or 0."""
    return _sticky(_unseen(driver, driver.cuStreamQuery, None))


def worked(driver: Any, context: ctypes.c_void_p | None) -> int:
    """Return the sticky error of ``context`` or of any other one, or 0, once their work is done."""
    if context is not None and (code := _synchronized(driver, context)):
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
