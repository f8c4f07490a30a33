"""One batch in one call, arrays in and arrays out, without chunks; for tests and benchmarks.

A batch of `BatchSolver` does not come this way, but for :func:`arguments_for` and :func:`check_numbers`.

All arrays have the run axis last. The arguments of every program are positional, in the order of
`solver.numerics.recipe.ARGUMENTS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from solver.codegen.programs import kernel_program, program
from solver.devices.cpu import run_block

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from solver.numerics.drivers import Drivers
    from solver.numerics.recipe import Recipe

__all__ = ["MOST_STEPS", "Backend", "Ensemble", "arguments_for", "check_numbers", "integrate"]

Backend = Literal["python", "cpu", "sim", "cuda"]
THREADS_PER_BLOCK = 64

MOST_STEPS = 2**31 - 1
"""So many attempts a run's counters can count, on every backend."""


@dataclass(frozen=True)
class Ensemble:
    """What a batch left behind, run axis last.

    Attributes
    ----------
    ys
        (n_points, n_states, n_runs): states at the save points, NaN where the run did not get there; (1, ...)
        the final state; or one row per summary.
    t_end
        (n_runs,): where each run stopped.
    event_t
        (n_events, keep, n_runs): times of the first occurrences, then NaN.
    counts
        (2 + n_events, n_runs): accepted and rejected attempts, then occurrences per event.
    status
        (n_runs,): codes of `solver.numerics.status.Status`.
    """

    ys: NDArray[Any]
    t_end: NDArray[Any]
    event_t: NDArray[Any]
    counts: NDArray[np.int32]
    status: NDArray[np.int32]


def integrate(
    recipe: Recipe,
    y0: ArrayLike,
    params: ArrayLike,
    t_span: ArrayLike,
    *,
    ts: ArrayLike | None = None,
    h0: float = 0.0,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_steps: int = 100_000,
    drivers: Drivers | None = None,
    backend: Backend = "cpu",
    threads: int | None = None,
    lanes: int | None = None,
) -> Ensemble:
    """Integrate a batch at once.

    Parameters
    ----------
    recipe
        What to make; ``points`` and the driver fields are set from ``ts`` and ``drivers``.
    y0, params
        (n_states, n_runs) and (n_params, n_runs), or one dimension for values that all runs share.
    t_span
        (t0, t1), or (2, n_runs) for a span of each run's own.
    ts
        Save points (n_points,) or (n_points, n_runs), not decreasing; points outside a run's span stay NaN.
    h0
        First step, 0 to choose one per run; the step itself for fixed steps.
    rtol, atol
        A step is accepted when the error estimate of every component is at most ``atol + rtol*(|y| +
        h*|y'|)``, see `solver.codegen.stages.error_scales`.
    max_steps
        Attempts per run, at most `MOST_STEPS`.
    drivers
        Sampled inputs.
    backend, threads, lanes
        Where to run; threads and SIMD lanes on the CPU.

    Raises
    ------
    ValueError
        When shapes do not fit, a span is not increasing or not finite, or a number makes no sense.
    """
    recipe = replace(
        recipe,
        points=ts is not None,
        n_drivers=drivers.count if drivers else 0,
        driver_degree=drivers.degree if drivers else 1,
    )
    inputs = _inputs(recipe, y0, params, t_span, ts)
    n_runs = _common_runs(inputs)
    check_numbers(h0, rtol, atol, max_steps)
    if recipe.fixed and h0 == 0:
        message = "fixed steps need a step h0"
        raise ValueError(message)
    written = recipe.outputs(n_runs, inputs[3].shape[0])
    outputs = {name: np.empty(shape, dtype) for name, (shape, dtype) in written.items()}
    arguments = arguments_for(
        recipe,
        (*inputs, _samples(recipe, drivers)),
        tuple(outputs.values()),
        h0=h0,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        drivers=drivers,
    )
    if backend == "cpu":
        run_block(program(recipe, "cpu", lanes), n_runs, arguments, threads)
    elif backend == "python":
        program(recipe, "python")(0, n_runs, *arguments)
    elif n_runs:
        _launch(recipe, n_runs, arguments)
    return Ensemble(*outputs.values())


def check_numbers(h0: float, rtol: float, atol: float, max_steps: int) -> None:
    """Refuse tolerances and steps that make no sense.

    Raises
    ------
    ValueError
        With what was given.
    """
    sensible = math.isfinite(h0) and h0 >= 0 and rtol >= 0 and atol >= 0 and rtol + atol > 0
    if not (sensible and 0 < max_steps <= MOST_STEPS):
        message = (
            f"need rtol, atol >= 0 and not both 0, max_steps from 1 to {MOST_STEPS} and a step h0 >= 0; "
            f"got rtol={rtol}, atol={atol}, max_steps={max_steps}, h0={h0}"
        )
        raise ValueError(message)


def arguments_for(
    recipe: Recipe,
    inputs: tuple[Any, ...],
    outputs: tuple[Any, ...],
    *,
    h0: float,
    rtol: float,
    atol: float,
    max_steps: int,
    drivers: Drivers | None = None,
) -> tuple[Any, ...]:
    """Return the positional arguments of a program.

    Parameters
    ----------
    recipe
        The program's recipe.
    inputs
        Arrays y0, params, span, ts, samples; on the device for kernels.
    outputs
        Arrays ys, t_end, event_t, counts, status as `Recipe.outputs` says; on the device for kernels.
    h0, rtol, atol, max_steps, drivers
        As in `integrate`.
    """
    real = recipe.dtype.type
    start, rate = (drivers.start, 1.0 / drivers.step) if drivers else (0.0, 1.0)
    limits = np.finfo(recipe.dtype)
    # Programs divide by it. So small a part of a state is lost in rounding: nothing else changes.
    rtol = max(rtol, float(limits.eps) ** 2)
    # No tolerance is so small that one over it overflows; a state that stays exactly 0 needs no atol.
    atol = max(atol, float(limits.tiny) * max(rtol, 1.0))
    return (*inputs, *outputs, real(h0), real(rtol), real(atol), np.int32(max_steps), real(start), real(rate))


def _inputs(
    recipe: Recipe, y0: ArrayLike, params: ArrayLike, t_span: ArrayLike, ts: ArrayLike | None
) -> tuple[NDArray[Any], ...]:
    def columns(values: ArrayLike, rows: int | None, name: str) -> NDArray[Any]:
        array = np.asarray(values, dtype=recipe.dtype)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or (rows is not None and array.shape[0] != rows):
            message = f"{name} must be ({rows}, n_runs) or ({rows},), got shape {np.shape(values)}"
            raise ValueError(message)
        return np.ascontiguousarray(array)

    span = columns(t_span, 2, "t_span")
    if not (np.isfinite(span).all() and (span[0] <= span[1]).all()):
        message = "every time span must be finite and must not run backwards"
        raise ValueError(message)
    points = columns(np.empty((0, 1)) if ts is None else ts, None, "ts")
    if np.isnan(points).any() or (np.diff(points, axis=0) < 0).any():
        message = "save points must be numbers and must not decrease"
        raise ValueError(message)
    return columns(y0, recipe.n_states, "y0"), columns(params, recipe.n_params, "params"), span, points


def _common_runs(inputs: tuple[NDArray[Any], ...]) -> int:
    """Return the number of runs, which every input has or shares by a run axis of length 1."""
    lengths = {array.shape[-1] for array in inputs} - {1}
    if len(lengths) > 1:
        message = f"these disagree on the number of runs: {[array.shape for array in inputs]} (run axis last)"
        raise ValueError(message)
    return lengths.pop() if lengths else 1


def _samples(recipe: Recipe, drivers: Drivers | None) -> NDArray[Any]:
    return drivers.coefficients(recipe.dtype) if drivers else np.empty((0, 0, 0), recipe.dtype)


def _launch(recipe: Recipe, n_runs: int, arguments: tuple[Any, ...]) -> None:
    from numba import cuda

    from solver.devices.virtual import SIMULATOR

    kernel = kernel_program(recipe)
    blocks = -(-n_runs // THREADS_PER_BLOCK)
    with SIMULATOR:
        on_device = [cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
        kernel[blocks, THREADS_PER_BLOCK](n_runs, *on_device)
        for host, device in zip(arguments, on_device, strict=True):
            if isinstance(host, np.ndarray):
                device.copy_to_host(host)
