"""What the pipeline is given: arrays in, arrays out, and how to launch. It knows no equations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from solver.devices.device import DeviceArray
    from solver.pipeline.pool import BufferSpec

__all__ = ["Launch", "Work"]


class Launch(Protocol):
    """How one chunk is computed."""

    def __call__(self, device: Any, arrays: Mapping[str, DeviceArray], n_runs: int, /) -> None:
        """Queue the kernel for the first `n_runs` runs of `arrays`; what lies behind them is padding."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch for the pipeline; every array has the run axis last.

    Attributes
    ----------
    launch
        How a chunk is computed. Gets all arrays below by name, on the device.
    inputs
        Sent chunk by chunk.
    shared
        Sent once, whole; the same for all runs.
    outputs
        Where results go chunk by chunk; of any strides. Never without elements: a device has no such arrays.
    kept
        Results that stay on the device, whole.
    fresh
        Names of outputs that nobody has touched since they were allocated: their pages are made while
        the kernel runs, since a copy into missing pages takes several times as long.
    """

    launch: Launch
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    shared: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    kept: Mapping[str, BufferSpec] = field(default_factory=dict)
    fresh: frozenset[str] = frozenset()

    @property
    def n_runs(self) -> int:
        """Runs of the batch."""
        return int(next(iter(self.inputs.values())).shape[-1])

    @property
    def bytes_in(self) -> int:
        """Bytes of all inputs."""
        return sum(array.nbytes for array in self.inputs.values())

    @property
    def bytes_shared(self) -> int:
        """Bytes of all that is sent once."""
        return sum(array.nbytes for array in self.shared.values())

    @property
    def bytes_out(self) -> int:
        """Bytes of all outputs."""
        return sum(array.nbytes for array in self.outputs.values())

    @property
    def bytes_kept(self) -> int:
        """Bytes of all results that stay."""
        return sum(spec.nbytes for spec in self.kept.values())
