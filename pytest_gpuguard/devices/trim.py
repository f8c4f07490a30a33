"""Memory that libraries keep although nobody uses it, given back; only of libraries that are loaded already.

Nothing here imports a library, starts CUDA or makes a context. RMM's pools are missing: they have no way to
give back, so only the second look at what is free sees them.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["flush_numba", "simulated", "started", "trim"]


def simulated(environment: str | None) -> bool:
    """Return whether numba runs its simulator.

    Parameters
    ----------
    environment
        Value of ``NUMBA_ENABLE_CUDASIM``, which counts as long as numba is not loaded.
    """
    config = getattr(sys.modules.get("numba"), "config", None)
    if config is not None:
        return bool(getattr(config, "ENABLE_CUDASIM", 0))
    return (environment or "0").strip() not in {"", "0"}


def started() -> str | None:
    """Return the library that has started CUDA in this process, or None: from then on devices are fixed."""
    driver: Any = getattr(sys.modules.get("numba.cuda.cudadrv.driver"), "driver", None)
    if getattr(driver, "is_initialized", False):
        return "numba"
    torch: Any = sys.modules.get("torch")
    return "torch" if hasattr(torch, "cuda") and torch.cuda.is_initialized() else None


def trim() -> list[str]:
    """Give back what is kept; return the names of the libraries that were asked."""
    return [name for name, give_back in _LIBRARIES.items() if give_back()]


def flush_numba() -> bool:
    """Flush both queues of every context: a freed array may wait there for nine others."""
    driver: Any = getattr(sys.modules.get("numba.cuda.cudadrv.driver"), "driver", None)
    gpus: Any = getattr(sys.modules.get("numba.cuda.cudadrv.devices"), "gpus", None)
    if gpus is None or not getattr(driver, "is_initialized", False) or driver.initialization_error:
        return False  # the simulator, or nothing has used a device so far, or there is none
    for device in gpus.lst:
        context = device.primary_context
        if context is not None:
            context.memory_manager.deallocations.clear()
            context.deallocations.clear()
    return True


def _cupy() -> bool:
    cupy: Any = sys.modules.get("cupy")
    if not hasattr(cupy, "get_default_memory_pool"):
        return False
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
    return True


def _torch() -> bool:
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return False
    torch.cuda.empty_cache()
    memory: Any = getattr(getattr(torch, "accelerator", None), "memory", None)
    if hasattr(memory, "empty_host_cache"):  # newer versions only
        memory.empty_host_cache()
    return True


_LIBRARIES = {"numba": flush_numba, "cupy": _cupy, "torch": _torch}
