"""The GPU behind a narrow door: what fixtures need of it, alike on a device and in numba's simulator.

Nothing here imports numba before somebody opens the door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Event", "Gpu", "Mode", "Stream", "UnavailableError", "open_gpu"]

Mode = Literal["gpu", "sim", "fake"]
"""A device, numba's simulator, or the driver of this project's own tests."""


class UnavailableError(Exception):
    """There is no device to work on; the message is the evidence."""


class Stream(Protocol):
    """A stream, as numba has them: goes wherever numba takes one."""

    def synchronize(self) -> None:
        """Wait until everything in it is done."""

    def auto_synchronize(self) -> AbstractContextManager[Stream]:
        """Wait at the end of a block until everything in the stream is done; gives the stream."""


class Event(Protocol):
    """A point in a stream, as numba has them."""

    def record(self, stream: Any = 0) -> None:
        """Be the present end of ``stream``."""

    def query(self) -> bool:
        """Return whether everything before it is done; true for one that was never recorded."""

    def synchronize(self) -> None:
        """Wait until everything before it is done."""

    def wait(self, stream: Any = 0) -> None:
        """Let whatever comes next in ``stream`` start after it; the host does not wait."""

    def elapsed_time(self, evtend: Any) -> float:
        """Return the milliseconds from this event to another; both have been recorded and are done."""


class Gpu(Protocol):
    """The device that this process works on, by way of numba.

    Attributes
    ----------
    mode
        ``"gpu"``, ``"sim"`` or ``"fake"``.
    ordinal
        Its index among the devices that this process sees.
    uuid
        ``GPU-...``, the same whatever is visible.
    name
        Its model.
    capability
        Compute capability, ``(major, minor)``.
    total_bytes
        Its memory in all. Simulated: half of the host's.
    """

    mode: Mode
    ordinal: int
    uuid: str
    name: str
    capability: tuple[int, int]
    total_bytes: int

    def free_bytes(self) -> int:
        """Return how many bytes of its memory are free, whoever uses the rest. Simulated: all of them."""

    def synchronize(self) -> None:
        """Wait until everything on it is done."""

    def stream(self) -> Stream:
        """Return a new stream."""

    def event(self, timing: bool = True) -> Event:
        """Return a new event; without ``timing`` it cannot tell times apart, and costs less."""

    def pinned(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """Return a page-locked array with undefined contents."""

    def flush(self) -> None:
        """Really free what was dropped; libraries keep some of it."""

    def memory_limit(self, nbytes: int) -> AbstractContextManager[None]:
        """Have every device report no more than ``nbytes`` of free memory for the length of a block."""


def open_gpu() -> Gpu:
    """Return the current device, or the first one.

    Raises
    ------
    UnavailableError
        There is none, or none that this process may use.
    GuardError
        GPG401, when there is one that does not let this process in.
    """
    try:
        from numba import cuda
        from numba.cuda.core import config
    except ImportError as error:
        message = f"devices are used by way of numba-cuda, which cannot be imported: {error}"
        raise UnavailableError(message) from None
    if config.ENABLE_CUDASIM:
        from pytest_gpuguard.devices.simulator import SimulatedGpu

        return SimulatedGpu(cuda)
    from pytest_gpuguard.devices.driver import DriverGpu

    return DriverGpu(cuda)
