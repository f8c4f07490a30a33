"""numba's simulator, with streams and events that tell what a device's would.

In the simulator everything is done when the call returns that asked for it. So an event is always past, and
the time between two of them is the time between their records on the host.
"""

from __future__ import annotations

import importlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.devices.door import Mode

__all__ = ["SimulatedEvent", "SimulatedGpu", "SimulatedStream"]

_INVALID_HANDLE = 400


class SimulatedStream:
    """A stream in which nothing ever waits."""

    def synchronize(self) -> None:
        """Return."""

    @contextmanager
    def auto_synchronize(self) -> Iterator[SimulatedStream]:
        """Give the stream to a block."""
        yield self


class SimulatedEvent:
    """An event that is past as soon as it is recorded.

    Parameters
    ----------
    timing
        Whether it can tell times apart.
    """

    def __init__(self, timing: bool = True) -> None:
        self._timing = timing
        self._recorded: float | None = None

    def record(self, stream: Any = 0) -> None:
        """Remember the time."""
        self._recorded = time.perf_counter()

    def query(self) -> bool:
        """Return True."""
        return True

    def synchronize(self) -> None:
        """Return."""

    def wait(self, stream: Any = 0) -> None:
        """Return."""

    def elapsed_time(self, evtend: SimulatedEvent) -> float:
        """Return the milliseconds between the two records.

        Raises
        ------
        CudaAPIError
            400, as the driver says it, when one was not recorded or made without timing.
        """
        begin, end = self._recorded, evtend._recorded
        if begin is None or end is None or not (self._timing and evtend._timing):
            driver: Any = importlib.import_module("numba.cuda.cudadrv.driver")
            message = "CUDA_ERROR_INVALID_HANDLE: an event was not recorded, or made without timing"
            raise driver.CudaAPIError(_INVALID_HANDLE, message)
        return 1e3 * (end - begin)


class SimulatedGpu:
    """The one device of the simulator.

    Parameters
    ----------
    cuda
        The module ``numba.cuda``.
    """

    mode: Mode = "sim"
    name = "numba's CUDA simulator"
    ordinal = 0

    def __init__(self, cuda: Any) -> None:
        import psutil

        self._cuda = cuda
        device = cuda.current_context().device
        self.uuid: str = device.uuid
        major, minor = device.compute_capability
        self.capability: tuple[int, int] = major, minor
        # The simulator itself says infinity. Its arrays are the host's.
        self.total_bytes = int(psutil.virtual_memory().total) // 2

    def free_bytes(self) -> int:
        """Return the limit in force, or everything."""
        return int(min(self._cuda.current_context().get_memory_info().free, self.total_bytes))

    def synchronize(self) -> None:
        """Return."""

    def stream(self) -> SimulatedStream:
        """Return a stream that takes no time."""
        return SimulatedStream()

    def event(self, timing: bool = True) -> SimulatedEvent:
        """Return an event that can be queried."""
        return SimulatedEvent(timing)

    def pinned(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """Return an ordinary array: the simulator locks no pages."""
        return self._cuda.pinned_array(shape, dtype)

    def flush(self) -> None:
        """Return: nothing is kept."""

    @contextmanager
    def memory_limit(self, nbytes: int) -> Iterator[None]:
        """Have the simulator report ``nbytes`` of free memory, instead of an infinite amount."""
        context = type(self._cuda.current_context())
        whole = context.get_memory_info

        def report(ours: Any) -> Any:
            info = whole(ours)
            total = min(info.total, self.total_bytes)
            return info._replace(free=int(min(info.free, total, nbytes)), total=int(total))

        context.get_memory_info = report
        try:
            yield
        finally:
            context.get_memory_info = whole
