"""The device behind a narrow door: what the pipeline needs of streams, events and memory, and nothing else.

Two things stand behind it: :class:`solver.devices.cuda.CudaDevice`, and in numba's simulator
:class:`solver.devices.virtual.VirtualDevice`. The processor is no such device: what runs there needs no
streams and no copies (:mod:`solver.devices.cpu`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from solver.devices.clock import Clock
    from solver.devices.rates import Rates

__all__ = ["CompiledKernel", "Device", "DeviceArray", "Event", "StreamName"]

StreamName = Literal["in", "run", "out"]
"""The three streams of the pipeline: to the device, on it, from it."""

DeviceArray = Any
"""An array of numba's, which carries no types."""

CompiledKernel = Any
"""A kernel of numba's, likewise."""


class Event(Protocol):
    """A point in a stream."""

    def query(self) -> bool:
        """Whether everything before it is done. Raises what the device failed with."""

    def wait(self, timeout: float) -> bool:
        """Block for at most `timeout` seconds; return what :meth:`query` says then."""


class Device(Protocol):
    """Memory, three streams and launches. Everything but the allocations returns before it is done.

    Attributes
    ----------
    mode
        ``"cuda"`` or ``"sim"``.
    clock
        By what everybody waits who waits for this device, or for another one who does.
    rates
        What the machine is taken to be capable of.
    """

    mode: str
    clock: Clock
    rates: Rates

    def free_bytes(self) -> int:
        """Return how many bytes of device memory are free."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Return a device array with undefined contents."""

    def constant(self, array: NDArray[Any]) -> DeviceArray:
        """Return a device array with a copy of `array`, there before what comes next on the stream ``in``."""

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a page-locked host array with undefined contents."""

    def discard(self, pinned: NDArray[Any]) -> None:
        """Take note that nobody needs the contents of `pinned` any more."""

    def upload(self, pinned: NDArray[Any], array: DeviceArray) -> None:
        """Copy to the device on the stream ``in``; `pinned` must not change until an event after it."""

    def launch(self, kernel: CompiledKernel, n_threads: int, arguments: tuple[Any, ...]) -> None:
        """Run a kernel on the stream ``run``."""

    def download(self, array: DeviceArray, pinned: NDArray[Any]) -> None:
        """Copy from the device on the stream ``out``; `pinned` means nothing until an event after it."""

    def write_back(self, pinned: NDArray[Any], target: NDArray[Any]) -> None:
        """Copy on the host, from pinned memory to a caller's array; done when it returns."""

    def record(self, stream: StreamName) -> Event:
        """Return an event at the present end of a stream."""

    def elapsed(self, begin: Event, end: Event) -> float:
        """Return the seconds between two events that have come."""

    def after(self, stream: StreamName, event: Event) -> None:
        """Let whatever comes next in a stream start after `event`; the host does not wait."""

    def drained(self) -> bool:
        """Whether every stream has come to its end, or never will because the device failed."""

    def trim(self) -> None:
        """Really free the memory of arrays that were dropped."""
