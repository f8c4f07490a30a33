"""Whether the CUDA contexts of this process still work; nothing here starts CUDA or makes a context.

An error of a kernel ends its context: every later call that has to do with work or memory fails with it until
the process ends. Whoever runs next in that process fails innocently.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from pytest_gpuguard.devices.bounded import within
from pytest_gpuguard.devices.trim import simulated, started

__all__ = ["device_in_use", "glance", "possible", "unusable"]

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
        import ctypes

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
    driver = _loaded()
    if driver is None:
        return None
    from pytest_gpuguard.devices.contexts import current

    return None if current(driver) is None else driver


def device_in_use() -> str | None:
    """Return the model of the device of the calling thread's context; None without one."""
    driver = _in_use()
    if driver is None:
        return None
    from pytest_gpuguard.devices.contexts import model

    return model(driver)


def glance() -> int:
    """Return the sticky error of the calling thread's context, as far as it has come to light, or 0.

    Costs microseconds and waits for nothing: work that still runs may fail later.
    """
    driver = _in_use()
    if driver is None:
        return 0
    from pytest_gpuguard.devices.contexts import glanced

    return glanced(driver)


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
    from pytest_gpuguard.devices.contexts import current, worked

    context = current(driver)
    try:
        return within(patience, lambda: worked(driver, context))
    except TimeoutError:
        return 0
