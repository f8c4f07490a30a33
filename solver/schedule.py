"""Which steps of which size lead from one saved time to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Schedule", "fixed_steps"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Fixed steps, segment by segment; segment ``i`` ends exactly at ``ts[i]``.

    Attributes
    ----------
    ts
        Saved times, ``(n_saved,)``.
    starts
        Where each segment starts, ``(n_saved,)``. A time inside it is ``starts[i] + j * widths[i]``, never a
        running sum, so that rounding does not pile up.
    widths, counts
        Step size and number of steps of each segment, ``(n_saved,)``; no steps for a point at the start.
    """

    ts: NDArray[np.float64]
    starts: NDArray[np.float64]
    widths: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def n_steps(self) -> int:
        """Steps of one run in all."""
        return int(self.counts.sum())


def _save_times(t0: float, t1: float, saveat: ArrayLike | None) -> NDArray[np.float64]:
    ts: NDArray[Any] = np.asarray([t1] if saveat is None else saveat, dtype=np.float64)
    if ts.ndim != 1 or ts.size == 0 or not np.all(np.isfinite(ts)):
        message = (
            f"saveat must be a list of finite times, got shape {ts.shape}; None saves the final state only"
        )
        raise ValueError(message)
    if np.any(np.diff(ts) <= 0):
        message = "saveat must increase from each time to the next; sort it and drop what is there twice"
        raise ValueError(message)
    if ts[0] < t0 or ts[-1] > t1:
        message = f"saveat runs from {ts[0]:g} to {ts[-1]:g}, outside of the span {t0:g} to {t1:g}"
        raise ValueError(message)
    return ts


def fixed_steps(t_span: tuple[float, float], dt: float, saveat: ArrayLike | None = None) -> Schedule:
    """Return the steps for a span: each segment is cut into equal steps no longer than `dt`.

    Parameters
    ----------
    t_span
        Start and end, end after start.
    dt
        Longest step. A segment that is not a whole number of steps is cut into shorter equal ones.
    saveat
        Times to save at; ``None`` saves the end only.

    Raises
    ------
    ValueError
        When span, step or times make no sense together.
    """
    t0, t1 = (float(t) for t in t_span)
    if not (math.isfinite(t0) and math.isfinite(t1) and t1 > t0):
        message = f"t_span must be two finite times, the end after the start, got ({t0:g}, {t1:g})"
        raise ValueError(message)
    if not (math.isfinite(dt) and dt > 0):
        message = f"dt must be a positive step, got {dt!r}"
        raise ValueError(message)
    ts = _save_times(t0, t1, saveat)
    starts = np.concatenate(([t0], ts[:-1]))
    spans = ts - starts
    # A quotient that rounding put just above a whole number must not cost one more step.
    counts = np.ceil(spans / dt * (1 - 1e-12)).astype(np.int64)
    # A span so small that its quotient is zero is still one step.
    counts = np.maximum(counts, spans > 0)
    return Schedule(ts, starts, spans / np.maximum(counts, 1), counts)
