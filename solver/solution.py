"""What comes out of a solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.numerics.status import describe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solver.devices.device import DeviceArray
    from solver.pipeline.stats import Stats

__all__ = ["DeviceResult", "Solution"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class DeviceResult:
    """States that stayed on the device. They live as long as this does, also when the solver is closed.

    Attributes
    ----------
    array
        The device array, ``(n_saved, n_states, n_runs)``; NumPy's where the processor is the device.
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
        if isinstance(self.array, np.ndarray):
            np.copyto(host, self.array)
        else:
            self.array.copy_to_host(host)
        return host.transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class Solution:
    """The result of a batch.

    Attributes
    ----------
    ts
        Saved times, ``(n_saved,)`` or, where runs have their own, ``(n_runs, n_saved)``; the ends of the
        spans when only final states were saved.
    ys
        States, ``(n_runs, n_saved, n_states)``, NaN at times that a run did not get to; with a summary,
        ``(n_runs, n_summaries, n_states)`` in the order asked for. A view of memory in which the run is the
        last axis, unless the caller gave an array; a :class:`DeviceResult` when they were to stay on the
        device.
    status
        A :class:`solver.Status` for every run, ``(n_runs,)``.
    t_end
        Where each run stopped, ``(n_runs,)``.
    accepted, rejected
        Steps of each run, ``(n_runs,)``.
    event_counts
        How often each event happened, ``(n_runs, n_events)``.
    event_ts
        When it first did, ``(n_runs, n_events, keep)``, then NaN.
    stats
        What it took.
    """

    ts: NDArray[np.float64]
    # A union would have every caller ask which of the two it got, though they said which they want.
    ys: Any
    status: NDArray[np.int32]
    t_end: NDArray[Any]
    accepted: NDArray[np.int32]
    rejected: NDArray[np.int32]
    event_counts: NDArray[np.int32]
    event_ts: NDArray[Any]
    stats: Stats

    def describe(self) -> str:
        """Return one line that counts how the runs ended."""
        return describe(self.status)
