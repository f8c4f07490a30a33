"""A device, by way of numba-cuda's own objects."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.devices.door import UnavailableError
from pytest_gpuguard.devices.modes import mode_of
from pytest_gpuguard.devices.trim import trim
from pytest_gpuguard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuguard.devices.door import Event, Mode, Stream

__all__ = ["DriverGpu"]

_OUT_OF_MEMORY = 2
_MODES = {2: "PROHIBITED", 3: "EXCLUSIVE_PROCESS"}


class DriverGpu:
    """A device; making this makes its context.

    Parameters
    ----------
    cuda
        The module ``numba.cuda``.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        if not cuda.is_available():
            reason = " ".join(str(cuda.cuda_error() or "the driver has no device to show").split())
            message = f"numba finds no device, and its simulator is off: {reason}"
            raise UnavailableError(message)
        device = self._enter()
        self.ordinal: int = device.id
        self.uuid: str = device.uuid
        self.name: str = device.name
        self.mode: Mode = mode_of(self.name)
        major, minor = device.compute_capability
        self.capability: tuple[int, int] = major, minor
        self.total_bytes = self._memory()[1]

    def _enter(self) -> Any:
        """Return the device of the current context, which is made if there is none."""
        first = self._cuda.gpus[0]
        mode = _MODES.get(int(first.COMPUTE_MODE), "DEFAULT")
        if mode == "PROHIBITED":
            message = f"{first.name} ({first.uuid}) has compute mode PROHIBITED: it takes no context"
            raise UnavailableError(message)
        try:
            return self._cuda.current_context().device
        except Exception as error:
            message = (
                f"{first.name} ({first.uuid}) is there, but lets this process make no context: {error}\n"
                f"  its compute mode is {mode}; `nvidia-smi` shows who uses it"
            )
            raise GuardError("GPG401", message) from error

    def _memory(self) -> tuple[int, int]:
        with self._cuda.gpus[self.ordinal]:
            context = self._cuda.current_context()
            free, total = _told(type(context).get_memory_info, context)
        return int(free), int(total)

    def free_bytes(self) -> int:
        """Ask the driver."""
        return self._memory()[0]

    def synchronize(self) -> None:
        """Wait for all streams of the device's context."""
        with self._cuda.gpus[self.ordinal]:
            self._cuda.synchronize()

    def stream(self) -> Stream:
        """Return numba's own."""
        with self._cuda.gpus[self.ordinal]:
            made: Stream = self._cuda.stream()
        return made

    def event(self, timing: bool = True) -> Event:
        """Return numba's own."""
        with self._cuda.gpus[self.ordinal]:
            made: Event = self._cuda.event(timing=timing)
        return made

    def pinned(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """Return numba's own."""
        with self._cuda.gpus[self.ordinal]:
            try:
                return self._cuda.pinned_array(shape, dtype)
            except self._cuda.cudadrv.driver.CudaAPIError as error:
                if int(error.code) != _OUT_OF_MEMORY:
                    raise
            # Dropped arrays wait in numba's queue, which it does not empty for page-locked memory.
            trim()
            return self._cuda.pinned_array(shape, dtype)

    def flush(self) -> None:
        """Empty numba's queues, and what other libraries that are loaded keep."""
        trim()

    @contextmanager
    def memory_limit(self, nbytes: int) -> Iterator[None]:
        """Have numba's contexts report as if somebody else held all but ``nbytes`` of what is free now."""
        context = type(self._cuda.current_context())
        whole = context.get_memory_info
        report = _reduced(whole, nbytes)
        context.get_memory_info = report
        try:
            report(self._cuda.current_context())  # what is free on this device is what is free now
            yield
        finally:
            context.get_memory_info = whole


def _told(whole: Callable[[Any], Any], context: Any) -> Any:
    """Return free and total memory; where a manager of memory such as RMM's cannot tell, the driver can."""
    driver: Any = importlib.import_module("numba.cuda.cudadrv.driver")
    try:
        return whole(context)
    except NotImplementedError:
        return driver.MemoryInfo(*driver.driver.cuMemGetInfo())


def _reduced(whole: Callable[[Any], Any], nbytes: int) -> Callable[[Any], Any]:
    """Return ``whole`` as it reports when, of each device, only ``nbytes`` of what was free at first are."""
    taken: dict[int, int] = {}

    def report(context: Any) -> Any:
        info = _told(whole, context)
        hidden = taken.setdefault(context.device.id, max(0, info.free - nbytes))
        return info._replace(free=min(nbytes, max(0, info.free - hidden)))

    return report
