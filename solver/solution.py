"""What comes out of a solve."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solver.devices.device import DeviceArray
    from solver.pipeline.stats import Stats

__all__ = ["DeviceResult", "Solution", "Status"]


class Status(enum.IntEnum):
    """How one run ended; a run that fails leaves its neighbours alone."""

    OK = 0
    NON_FINITE = 1


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
