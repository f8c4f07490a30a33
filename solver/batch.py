"""From what callers pass (one row for all, or one a run) to the arrays that the device wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Batch", "check_dtype", "make_batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs of every run, run axis last so that neighbouring threads read neighbouring numbers.

    Attributes
    ----------
    y0
        Initial states, ``(n_states, n_runs)``, C-contiguous.
    params
        Parameters, ``(max(n_params, 1), n_runs)``: a device has no arrays without rows.
    """

    y0: NDArray[Any]
    params: NDArray[Any]

    @property
    def n_runs(self) -> int:
        """How many runs there are."""
        return int(self.y0.shape[-1])


def check_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as float32 or float64.

    Raises
    ------
    ValueError
        When it is neither.
    """
    found = np.dtype(dtype)
    if found not in {np.dtype(np.float32), np.dtype(np.float64)}:
        message = f"dtype must be float32 or float64, got {found}"
        raise ValueError(message)
    return found


def _rows(name: str, values: ArrayLike, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    rows = np.asarray(values, dtype=dtype)
    if rows.ndim not in {1, 2} or rows.shape[-1] != width:
        message = f"{name} has shape {rows.shape}; give ({width},) for all runs or (n_runs, {width})"
        raise ValueError(message)
    return rows


def _run_last(rows: NDArray[Any], n_runs: int) -> NDArray[Any]:
    return np.ascontiguousarray(np.broadcast_to(rows, (n_runs, rows.shape[-1])).T)


def make_batch(y0: ArrayLike, params: ArrayLike, n_states: int, n_params: int, dtype: np.dtype[Any]) -> Batch:
    """Return the batch for initial states ``(n_runs, n_states)`` or ``(n_states,)`` and parameters likewise.

    Raises
    ------
    ValueError
        When a shape does not fit the problem, the two disagree about the number of runs, or there is none.
    """
    states, parameters = _rows("y0", y0, n_states, dtype), _rows("params", params, n_params, dtype)
    counts = {len(rows) for rows in (states, parameters) if rows.ndim == 2} or {1}
    if len(counts) > 1:
        message = (
            f"y0 has {len(states)} runs but params has {len(parameters)}; give as many of each, or one row"
        )
        raise ValueError(message)
    (n_runs,) = counts
    if n_runs == 0:
        message = "the batch has no runs; give at least one row of y0 or params"
        raise ValueError(message)
    if n_params == 0:
        parameters = np.zeros((1,), dtype)
    return Batch(_run_last(states, n_runs), _run_last(parameters, n_runs))
