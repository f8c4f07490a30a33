"""Which memory it was that an exception says has run out; of every library by what its message says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Memory", "ran_out"]

Memory = Literal["pinned", "device"]

_OUT_OF_MEMORY = 2
_LONGEST_CHAIN = 20
_SAYS_SO = re.compile(
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|CUDA out of memory|std::bad_alloc: out_of_memory"
)
_PINNED = re.compile(
    r"cuMem(Host|AllocHost)|cuda(HostAlloc|MallocHost|HostRegister)|pinned|page-locked", re.IGNORECASE
)
#: Libraries whose ``OutOfMemoryError`` is about a device.
_LIBRARIES = frozenset({"cupy", "torch"})


def ran_out(error: BaseException) -> Memory | None:
    """Return the memory that ``error``, or what it was raised from, says has run out; None where none does.

    Device memory, unless the message names a call for page-locked memory.
    """
    for link in _chain(error):
        text = _text(link)
        if _SAYS_SO.search(text) or _is_of_a_library(link) or _has_the_code(link):
            return "pinned" if _PINNED.search(text) else "device"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what a traceback shows as its causes."""
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the suite's own code: an error without words is none that we know
        return ""


def _is_of_a_library(error: BaseException) -> bool:
    kind = type(error)
    return kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] in _LIBRARIES


def _has_the_code(error: BaseException) -> bool:
    """Return whether it is an error of numba's driver with the code of an allocation that failed."""
    if type(error).__name__ != "CudaAPIError":
        return False
    try:
        return int(getattr(error, "code", 0)) == _OUT_OF_MEMORY
    except (TypeError, ValueError):
        return False
