"""What comes out of a solve."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.bound import bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solver.bound import Lanes, Stages
    from solver.device import DeviceArray

__all__ = ["DeviceResult", "Solution", "Stats", "Status"]


class Status(enum.IntEnum):
    """How one run ended; a run that fails leaves its neighbours alone."""

    OK = 0
    NON_FINITE = 1


@dataclass(frozen=True, slots=True)
class Stats:
    """What a solve took.

    Attributes
    ----------
    chunks
        Chunks that the batch was cut into.
    chunk_runs
        Runs of the longest.
    lanes
        Sets of device arrays, pinned buffers for outputs and writers that they took turns in.
    pinned_bytes, device_bytes
        Most memory of each kind that the solver held at a time, since it was opened.
    stages
        Measured seconds of the average chunk in each stage. A virtual device tells its injected latencies,
        not what the simulator takes.
    pipeline_seconds
        From the first upload to the last chunk at home.
    steps
        Integration steps of one run.
    seconds
        The whole call.
    """

    chunks: int
    chunk_runs: int
    lanes: Lanes
    pinned_bytes: int
    device_bytes: int
    stages: Stages
    pipeline_seconds: float
    steps: int = 0
    seconds: float = 0.0

    @property
    def bound_seconds(self) -> float:
        """The least that chunks with these stages can take; see :mod:`solver.bound`."""
        return bound(self.stages, self.lanes, self.chunks)

    @property
    def overlap(self) -> float:
        """Which part of what can be had was had: 1 when nothing ever waited for the wrong thing."""
        return self.bound_seconds / self.pipeline_seconds if self.pipeline_seconds else 1.0


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class DeviceResult:
    """States that stayed on the device. They live as long as this does, also when the solver is closed.

    Attributes
    ----------
    array
        The device array, ``(n_saved, n_states, n_runs)``.
    """

    array: DeviceArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of what :meth:`copy_to_host` returns."""
        n_saved, n_states, n_runs = self.array.shape
        return (n_runs, n_saved, n_states)

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return int(self.array.nbytes)

    def copy_to_host(self) -> NDArray[Any]:
        """Return the states, ``(n_runs, n_saved, n_states)``; done when it returns."""
        host = np.empty(tuple(self.array.shape), self.array.dtype)
        self.array.copy_to_host(host)
        return host.transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class Solution:
    """The result of a batch.

    Attributes
    ----------
    ts
        Saved times, ``(n_saved,)``.
    ys
        States, ``(n_runs, n_saved, n_states)``: a view of memory in which the run is the last axis, unless
        the caller gave an array; a :class:`DeviceResult` when they were to stay on the device.
    status
        A :class:`Status` for every run, ``(n_runs,)``.
    stats
        What it took.
    """

    ts: NDArray[np.float64]
    # A union would have every caller ask which of the two it got, though they said which they want.
    ys: Any
    status: NDArray[np.int32]
    stats: Stats
