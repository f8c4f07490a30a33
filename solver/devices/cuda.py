"""The current CUDA device, by way of numba-cuda.

This module is not the kernel's, on purpose: the simulator replaces the name ``cuda`` in the kernel's globals
while one runs, and other threads use the device meanwhile.
"""

from __future__ import annotations

import importlib
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.devices.clock import SystemClock
from solver.devices.rates import Rates
from solver.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from solver.devices.clock import Clock
    from solver.devices.device import CompiledKernel, DeviceArray, Event, StreamName

__all__ = ["CudaDevice", "CudaEvent"]

_BLOCK = 128

# After these errors every call fails until the process ends: illegal addresses and instructions, failed
# launches and asserts, and the like.
_LASTING = frozenset({214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999})


@contextmanager
def _failures_of_the_device() -> Iterator[None]:
    """Tell errors after which nothing works any more from those of one call."""
    driver: Any = importlib.import_module("numba.cuda.cudadrv.driver")
    try:
        yield
    except driver.CudaAPIError as error:
        if int(error.code) not in _LASTING:
            raise
        message = (
            f"the device failed: {error}; no call of this process works any more, and its device and pinned "
            "memory come back when it ends"
        )
        raise DeviceError(message) from error


class CudaEvent:
    """An event of the driver, polled.

    ``stream.add_callback`` would spare the polling, but raises in numba-cuda 0.30; a blocking
    ``event.synchronize()`` could not be given a time limit.
    """

    def __init__(self, event: object) -> None:
        self.raw: Any = event

    def query(self) -> bool:
        """Whether everything before it is done.

        Asked of the binding: numba's own ``query()`` logs an error for each answer of "not yet".

        Raises
        ------
        DeviceError
            When an operation failed, now or earlier.
        """
        driver: Any = importlib.import_module("numba.cuda.cudadrv.driver")
        (code,) = driver.binding.cuEventQuery(self.raw.handle)
        if code == driver.binding.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if code != driver.binding.CUresult.CUDA_SUCCESS:
            with _failures_of_the_device():
                raise driver.CudaAPIError(code, f"Call to cuEventQuery results in {code.name}")
        return True

    def wait(self, timeout: float) -> bool:
        """Poll at intervals in proportion to the time waited so far: no more than 3 % too late."""
        started = time.monotonic()
        while not self.query():
            waited = time.monotonic() - started
            if waited >= timeout:
                return False
            time.sleep(min(max(20e-6, waited / 32), timeout - waited))
        return True


class CudaDevice:
    """The current CUDA device by way of numba-cuda.

    Run on the fake driver of the tests, which shows that nothing is read or reused before its event, and not
    yet on a device. In particular not known: how far the three streams really overlap.
    """

    mode = "cuda"

    def __init__(self) -> None:
        self._cuda = importlib.import_module("numba.cuda")
        self.clock: Clock = SystemClock()
        self.rates = Rates(least_runs=self._full_load())
        self._streams: dict[StreamName, Any] = {
            stream: self._cuda.stream() for stream in ("in", "run", "out")
        }

    def free_bytes(self) -> int:
        """Ask the driver."""
        return int(self._cuda.current_context().get_memory_info().free)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Allocate on the device."""
        return self._cuda.device_array(shape, dtype)

    def constant(self, array: NDArray[Any]) -> DeviceArray:
        """Queue the copy on the stream ``in``, whose events every kernel waits for.

        On the default stream it would wait, without any limit, for all that others do on the device.
        """
        return self._cuda.to_device(array, stream=self._streams["in"])

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Allocate page-locked memory; freed when the array is dropped and numba's queue is flushed."""
        array: NDArray[Any] = self._cuda.pinned_array(shape, dtype)
        return array

    def discard(self, pinned: NDArray[Any]) -> None:
        """Do nothing."""

    def upload(self, pinned: NDArray[Any], array: DeviceArray) -> None:
        """Queue the copy."""
        array.copy_to_device(pinned, stream=self._streams["in"])

    def launch(self, kernel: CompiledKernel, n_threads: int, arguments: tuple[Any, ...]) -> None:
        """Queue the launch."""
        kernel[-(-n_threads // _BLOCK), _BLOCK, self._streams["run"]](*arguments)

    def download(self, array: DeviceArray, pinned: NDArray[Any]) -> None:
        """Queue the copy."""
        array.copy_to_host(pinned, stream=self._streams["out"])

    def write_back(self, pinned: NDArray[Any], target: NDArray[Any]) -> None:
        """Copy; NumPy lets other threads run meanwhile."""
        np.copyto(target, pinned)

    def record(self, stream: StreamName) -> CudaEvent:
        """Record an event with timing, for :meth:`elapsed`."""
        event = self._cuda.event(timing=True)
        event.record(self._streams[stream])
        return CudaEvent(event)

    def elapsed(self, begin: Event, end: Event) -> float:
        """Ask the driver, which counts in milliseconds."""
        if not (isinstance(begin, CudaEvent) and isinstance(end, CudaEvent)):
            message = f"no time between {begin!r} and {end!r}; use events that this device recorded"
            raise TypeError(message)
        return float(begin.raw.elapsed_time(end.raw)) / 1e3

    def after(self, stream: StreamName, event: Event) -> None:
        """Make the stream wait."""
        if not isinstance(event, CudaEvent):
            message = f"a CUDA stream cannot wait for {event!r}; use events that this device recorded"
            raise TypeError(message)
        event.raw.wait(self._streams[stream])

    def drained(self) -> bool:
        """Record at the end of every stream and look."""
        with suppress(DeviceError), _failures_of_the_device():
            return all(self.record(stream).query() for stream in self._streams)
        return True

    def trim(self) -> None:
        """Flush numba's queue: pinned memory would stay there until ten more things were dropped.

        Raises
        ------
        DeviceError
            When the device failed: nothing can be freed any more.
        """
        with _failures_of_the_device():
            self._cuda.current_context().memory_manager.deallocations.clear()

    def _full_load(self) -> int:
        """Return the runs of two waves: five blocks of 128 fit on a multiprocessor at 85 registers."""
        return 2 * 5 * _BLOCK * int(self._cuda.get_current_device().MULTIPROCESSOR_COUNT)
