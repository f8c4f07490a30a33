"""From what callers pass (one row for all, or one a run) to the arrays that programs read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from solver.numerics.drivers import Drivers
    from solver.problem import Problem

__all__ = ["Batch", "check_dtype", "make_batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs, run axis last so that neighbouring threads read neighbouring numbers; C-contiguous.

    Attributes
    ----------
    n_runs
        How many runs there are.
    ts
        Saved times in float64 as the caller gave them, ``(n_saved,)``, or ``(n_runs, n_saved)`` where they
        differ; the ends of the spans when only final states are saved.
    arrays
        By name of argument, as `solver.numerics.recipe.ARGUMENTS` has them: ``y0``, ``params``, ``span``,
        ``ts``, ``samples``. The run axis has length 1 where all runs share one row; ``samples`` has none.
    """

    n_runs: int
    ts: NDArray[np.float64]
    arrays: dict[str, NDArray[Any]]

    def inputs(self) -> dict[str, NDArray[Any]]:
        """Return what every run has of its own; at least the initial states."""
        return {name: array for name, array in self.arrays.items() if self._is_own(name, array)}

    def shared(self) -> dict[str, NDArray[Any]]:
        """Return the rest."""
        return {name: array for name, array in self.arrays.items() if not self._is_own(name, array)}

    def _is_own(self, name: str, array: NDArray[Any]) -> bool:
        if name == "samples" or array.size == 0:
            return False
        return array.shape[-1] == self.n_runs and (self.n_runs > 1 or name == "y0")


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


def make_batch(
    problem: Problem,
    dtype: np.dtype[Any],
    y0: ArrayLike,
    params: ArrayLike,
    t_span: ArrayLike,
    saveat: ArrayLike | None,
    drivers: Drivers | None,
) -> Batch:
    """Return the batch for arguments of :meth:`solver.BatchSolver.solve`.

    Raises
    ------
    ValueError
        When a shape does not fit the problem, two disagree about the number of runs, there is none, or times
        make no sense.
    """
    rows = {
        "y0": _rows("y0", y0, problem.n_states),
        "params": _rows("params", params, problem.n_params),
        "t_span": _rows("t_span", t_span, 2),
    }
    spans = rows["t_span"].astype(np.float64)
    _check_spans(spans)
    ts = _save_times(spans, saveat)
    if saveat is not None:
        rows["saveat"] = ts
    n_runs = _common_runs(rows)
    columns = {name: _run_last(values, n_runs, dtype) for name, values in rows.items()}
    if not any(array.size and array.shape[-1] == n_runs for array in columns.values()):
        # Chunks are cut along something.
        columns["y0"] = np.ascontiguousarray(np.broadcast_to(columns["y0"], (problem.n_states, n_runs)))
    arrays = {
        "y0": columns["y0"],
        "params": columns["params"],
        "span": columns["t_span"],
        "ts": columns.get("saveat", np.empty((0, 1), dtype)),
        "samples": drivers.coefficients(dtype) if drivers else np.empty((0, 0, 0), dtype),
    }
    return Batch(n_runs, ts, arrays)


def _rows(name: str, values: ArrayLike, width: int) -> NDArray[Any]:
    rows = np.asarray(values)
    if rows.ndim not in {1, 2} or rows.shape[-1] != width:
        message = f"{name} has shape {rows.shape}; give ({width},) for all runs or (n_runs, {width})"
        raise ValueError(message)
    return rows


def _check_spans(spans: NDArray[np.float64]) -> None:
    """Refuse spans that run backwards; one of no length is a mistake where it is the only one."""
    rows = np.atleast_2d(spans)
    wrong = ~(np.isfinite(rows).all(axis=1) & (rows[:, 1] >= rows[:, 0]))
    if spans.ndim == 1:
        wrong |= rows[:, 1] == rows[:, 0]
    if wrong.any():
        run = int(np.flatnonzero(wrong)[0])
        where = f" for run {run}" if spans.ndim == 2 else ""
        message = (
            "t_span must be two finite times, the end after the start, "
            f"got ({rows[run, 0]:g}, {rows[run, 1]:g}){where}"
        )
        raise ValueError(message)


def _save_times(spans: NDArray[np.float64], saveat: ArrayLike | None) -> NDArray[np.float64]:
    """Return the saved times, ``(n_saved,)`` or ``(n_runs, n_saved)``."""
    ts: NDArray[np.float64] = spans[..., 1:] if saveat is None else np.asarray(saveat, dtype=np.float64)
    if ts.ndim not in {1, 2} or ts.shape[-1] == 0 or not np.isfinite(ts).all():
        message = (
            f"saveat must be a list of finite times (n_saved,) or (n_runs, n_saved), got shape {ts.shape}; "
            "None saves the final state only"
        )
        raise ValueError(message)
    if (np.diff(ts, axis=-1) <= 0).any():
        message = "saveat must increase from each time to the next; sort it and drop what is there twice"
        raise ValueError(message)
    if spans.ndim == 1 and (ts.min() < spans[0] or ts.max() > spans[1]):
        message = (
            f"saveat runs from {ts.min():g} to {ts.max():g}, outside of the span {spans[0]:g} to {spans[1]:g}"
        )
        raise ValueError(message)
    return ts


def _common_runs(rows: dict[str, NDArray[Any]]) -> int:
    counts = {name: len(values) for name, values in rows.items() if values.ndim == 2}
    if len(set(counts.values())) > 1:
        told = [f"{name} has {count} runs" for name, count in counts.items()]
        message = f"{' but '.join(told)}; give as many of each, or one row"
        raise ValueError(message)
    n_runs = next(iter(counts.values()), 1)
    if n_runs == 0:
        message = f"the batch has no runs; give at least one row of {' or '.join(counts)}"
        raise ValueError(message)
    return n_runs


def _run_last(rows: NDArray[Any], n_runs: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    columns = rows[:, None] if rows.ndim == 1 else rows.T
    return np.ascontiguousarray(columns, dtype=dtype)
