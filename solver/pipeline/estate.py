"""What a solver holds of device and host, and how it is let go of in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from solver.errors import SolverTimeoutError
from solver.pipeline.patience import Patience
from solver.pipeline.pool import ChunkBufferPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from solver.devices.device import Device, DeviceArray
    from solver.pipeline.arrays import Loan
    from solver.pipeline.memory import MemoryManager
    from solver.pipeline.pool import BufferSpec

__all__ = ["Estate", "SetOfArrays"]


@dataclass(slots=True)
class SetOfArrays:
    """Room for one chunk.

    Attributes
    ----------
    arrays
        Device arrays by name.
    staging
        Pinned buffers for the inputs; borrowed once for a whole solve.
    """

    arrays: dict[str, DeviceArray]
    staging: Loan | None = None


class Estate:
    """Sets of device arrays and the pool of pinned buffers.

    Apart from the kernel that uses it, so that a thread can wind it up after the kernel is gone.

    Parameters
    ----------
    device, memory
        The solver's.
    """

    def __init__(self, device: Device, memory: MemoryManager) -> None:
        self._device = device
        self._memory = memory
        self.pool = ChunkBufferPool(memory, device)
        self.sets: list[SetOfArrays] = []

    def furnish(self, specs: Mapping[str, BufferSpec], sets: int) -> None:
        """Allocate sets of device arrays."""
        for name, spec in specs.items():
            self._memory.registry.add("device", name, sets * spec.nbytes)
        self.sets.extend(
            SetOfArrays({name: self._device.empty(spec.shape, spec.dtype) for name, spec in specs.items()})
            for _ in range(sets)
        )

    def settle(self, timeout: float | None) -> None:
        """Let the device come to its end, then free the sets.

        Raises
        ------
        SolverTimeoutError
            When it does not in time: nothing that it may still use was freed.
        """
        self._drain(timeout)
        for place in self.sets:
            if place.staging is not None:
                place.staging.release()
        self.sets.clear()
        self._memory.registry.drop("device")
        self._device.trim()

    def wind_up(self, timeout: float | None) -> None:
        """Settle, then free the pinned buffers. May be called again, also after it raised.

        Raises
        ------
        SolverTimeoutError
            When something is still in use.
        """
        self.settle(timeout)
        self.pool.close(timeout)

    def _drain(self, timeout: float | None) -> None:
        patience = Patience(timeout, self._device.clock)
        while not self._device.drained():
            left = patience.left()
            if left <= 0:
                message = (
                    f"the device did not come to the end of its work within {timeout} s; call close() again"
                )
                raise SolverTimeoutError(message)
            self._device.clock.sleep(min(left, 1e-3))
