"""What a program is made for: the problem's functions, the method, and what is kept of each run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from solver.numerics.methods import Method, Rosenbrock, method_named

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ARGUMENTS", "SUMMARIES", "UNROLLED_STATES", "Event", "Recipe"]

UNROLLED_STATES = 8
"""Systems up to this size are generated as straight-line code; above, registers spill and compilation takes
minutes."""

SUMMARIES = ("mean", "min", "max", "final")
"""What can be kept of the save points of a run instead of the points."""

ARGUMENTS = (
    "y0",  # real (n_states, n_runs or 1)
    "params",  # real (n_params, n_runs or 1)
    "span",  # real (2, n_runs or 1): start and end
    "ts",  # real (n_points, n_runs or 1), increasing; (0, 1) when only the final state is kept
    "samples",  # real (n_segments, n_drivers, degree + 1); (0, 0, 0) without drivers
    "ys",  # real (n_points | n_summaries | 1, n_states, n_runs), written
    "t_end",  # real (n_runs,), written: where the run stopped
    "event_t",  # real (n_events, keep, n_runs), written: NaN where there was none
    "counts",  # int32 (2 + n_events, n_runs), written: accepted, rejected, then one row per event
    "status_out",  # int32 (n_runs,), written
    "h0",  # real: first step, 0 to choose one; the step itself for fixed steps
    "rtol",  # real
    "atol",  # real
    "max_steps",  # int: attempts, rejected ones included
    "grid_start",  # real: time of the first driver sample
    "grid_rate",  # real: driver samples per unit of time
)
"""Argument names of every generated program, in order.

The run axis is the last; arrays are C-contiguous; an input whose run axis has length 1 is shared by all runs.
"""


@dataclass(frozen=True)
class Event:
    """Something that happens when ``function(t, y, p)`` changes its sign; a zero at the start is none.

    Attributes
    ----------
    function
        One plain Python function that returns a number.
    direction
        1: only upwards, -1: only downwards, 0: both.
    terminal
        The occurrence that ends the run (1: the first); 0: events are only counted.
    keep
        How many times of occurrence are kept per run.
    """

    function: Callable[..., Any]
    direction: Literal[-1, 0, 1] = 0
    terminal: int = 0
    keep: int = 1


@dataclass(frozen=True)
class Recipe:
    """All that the text of a program depends on; hashable, so that equal recipes share one compiled program.

    Attributes
    ----------
    rhs
        ``rhs(t, y, p) -> tuple``; with drivers ``rhs(t, y, p, d) -> tuple``. Its globals and closure are read
        when the program is made; later changes of them are not seen.
    n_states, n_params
        Lengths of ``y`` and ``p``.
    method
        Name of one of `solver.numerics.methods.METHODS`.
    dtype
        float64 or float32; a float32 program contains no double-precision operation.
    fixed
        Fixed steps of ``h0`` without error control.
    points
        Keep the states at the save points ``ts`` (else the final state only).
    summary
        Keep these of the save points instead; some of `SUMMARIES`.
    events
        Watched functions.
    n_drivers, driver_degree
        Number of sampled inputs and the degree of their pieces.
    contract
        Let the CPU compiler fuse multiply-adds: faster, no longer bit-identical to other backends.
    """

    rhs: Callable[..., Any]
    n_states: int
    n_params: int
    method: str = "tsit5"
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))
    fixed: bool = False
    points: bool = False
    summary: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    n_drivers: int = 0
    driver_degree: int = 1
    contract: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if self.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
            message = f"dtype must be float64 or float32, got {self.dtype}"
            raise ValueError(message)
        if self.n_states < 1 or self.n_params < 0:
            message = f"need n_states >= 1 and n_params >= 0, got {self.n_states} and {self.n_params}"
            raise ValueError(message)
        if not self.fixed and not self.scheme.adaptive:
            message = f"{self.method} has no error estimate: give a step size (dt=...)"
            raise ValueError(message)
        if unknown := set(self.summary) - set(SUMMARIES):
            message = f"no summary called {', '.join(sorted(unknown))}; there are {', '.join(SUMMARIES)}"
            raise ValueError(message)
        if self.summary and not self.points:
            message = "a summary is taken over save points: give saveat"
            raise ValueError(message)

    @property
    def scheme(self) -> Method:
        """The method's numbers."""
        return method_named(self.method)

    @property
    def looped(self) -> bool:
        """Whether the program loops over local arrays instead of naming every number."""
        return self.n_states > UNROLLED_STATES or isinstance(self.scheme, Rosenbrock)

    @property
    def dense(self) -> bool:
        """Whether the program interpolates inside steps."""
        return self.points or bool(self.events)

    @property
    def n_dense(self) -> int:
        """How many vectors an attempt hands to the interpolant; 0 when it is not used."""
        if not self.dense:
            return 0
        return 3 if isinstance(self.scheme, Rosenbrock) or self.scheme.quartic else 2

    @property
    def keep(self) -> int:
        """Kept occurrences per event."""
        return max((event.keep for event in self.events), default=0)

    def rows(self, n_points: int) -> int:
        """Return the length of the first axis of ``ys`` for ``n_points`` save points."""
        if self.summary:
            return len(self.summary)
        return n_points if self.points else 1

    def outputs(self, n_runs: int, n_points: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and dtype of each written array, by argument name; the run axis is the last."""
        n_events, int32 = len(self.events), np.dtype(np.int32)
        return {
            "ys": ((self.rows(n_points), self.n_states, n_runs), self.dtype),
            "t_end": ((n_runs,), self.dtype),
            "event_t": ((n_events, self.keep, n_runs), self.dtype),
            "counts": ((2 + n_events, n_runs), int32),
            "status_out": ((n_runs,), int32),
        }
