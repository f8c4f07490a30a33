"""From a recipe and a batch to work for a kernel: which array goes where, and how to launch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.codegen.programs import kernel_program, program
from solver.devices.cpu import HostDevice
from solver.ensemble import arguments_for
from solver.pipeline.pool import BufferSpec
from solver.pipeline.work import Work
from solver.solution import Solution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from solver.batch import Batch
    from solver.devices.device import Device
    from solver.numerics.recipe import Recipe
    from solver.pipeline.stats import Stats
    from solver.pipeline.work import Launch

__all__ = ["make_solution", "make_work"]

_INPUTS = ("y0", "params", "span", "ts", "samples")
_OUTPUTS = ("ys", "t_end", "event_t", "counts", "status")
"""Names of the output arrays, in the order in which programs take them."""


def _program_for(recipe: Recipe, device: Device | HostDevice) -> Any:
    """Return the program of a recipe for a device, made once for all solvers of a process.

    Raises
    ------
    ValueError
        When the right-hand side does not return what it should.
    """
    if isinstance(device, HostDevice):
        return program(recipe, device.mode)
    return kernel_program(recipe)


def make_work(
    recipe: Recipe,
    batch: Batch,
    device: Device | HostDevice,
    numbers: Mapping[str, Any],
    out: NDArray[Any] | None,
    result: str,
) -> Work:
    """Return the work that solves a batch.

    Parameters
    ----------
    recipe
        What is solved and what is kept.
    batch
        The inputs.
    device
        What for.
    numbers
        Further arguments of :func:`solver.ensemble.arguments_for`.
    out
        The caller's array for the states, ``(n_runs, n_saved, n_states)``; ``None`` for one of our own.
    result
        ``"device"`` for states that stay where they are computed.

    Raises
    ------
    ValueError
        When `out` or `result` does not fit, or the right-hand side does not return what it should.
    """
    shapes = recipe.outputs(batch.n_runs, batch.arrays["ts"].shape[0])
    shapes["status"] = shapes.pop("status_out")
    target = _target(shapes["ys"], out, result)
    outputs = {
        name: np.empty(shape, dtype)
        for name, (shape, dtype) in shapes.items()
        if name != "ys" and np.prod(shape) > 0
    }
    fresh = frozenset(outputs) | (frozenset() if out is not None else {"ys"})
    shared = batch.shared()
    if "event_t" not in outputs:
        shared["event_t"] = np.empty((0, 0, 1), recipe.dtype)
    return Work(
        launch=_launch_of(recipe, device, numbers),
        inputs=batch.inputs(),
        shared=shared,
        outputs=outputs if target is None else {"ys": target, **outputs},
        kept={"ys": BufferSpec(*shapes["ys"])} if target is None else {},
        fresh=fresh,
    )


def _target(
    states: tuple[tuple[int, ...], np.dtype[Any]], out: NDArray[Any] | None, result: str
) -> NDArray[Any] | None:
    """Return the array for the states, run last; none when they stay on the device."""
    (n_saved, n_states, n_runs), dtype = states
    shape = (n_runs, n_saved, n_states)
    if result not in {"host", "device"} or (result == "device" and out is not None):
        message = f"result must be 'host' or, without out=, 'device'; got {result!r}"
        raise ValueError(message)
    if out is not None and (out.shape != shape or out.dtype != dtype or not out.flags.writeable):
        message = (
            f"out must be a writable array {shape} of {dtype}; got {out.shape} of {out.dtype}"
            f"{'' if out.flags.writeable else ', read-only'}"
        )
        raise ValueError(message)
    if result == "device":
        return None
    return np.empty(states[0], dtype) if out is None else out.transpose(1, 2, 0)


def _launch_of(recipe: Recipe, device: Device | HostDevice, numbers: Mapping[str, Any]) -> Launch:
    made, on_host = _program_for(recipe, device), isinstance(device, HostDevice)

    def launch(device: Any, arrays: Mapping[str, Any], n_runs: int) -> None:
        inputs, outputs = (tuple(arrays[name] for name in names) for names in (_INPUTS, _OUTPUTS))
        arguments = arguments_for(recipe, inputs, outputs, **numbers)
        if on_host:
            device.launch(made, n_runs, arguments)
        else:
            device.launch(made, n_runs, (np.int32(n_runs), *arguments))

    return launch


def make_solution(batch: Batch, outputs: Mapping[str, NDArray[Any]], states: Any, stats: Stats) -> Solution:
    """Return what callers get: run first, by views of the arrays that the work wrote."""
    counts = outputs["counts"].T
    times = outputs.get("event_t", np.empty((0, 0, batch.n_runs)))
    accepted, rejected = counts[:, 0], counts[:, 1]
    return Solution(
        ts=batch.ts,
        ys=states,
        status=outputs["status"],
        t_end=outputs["t_end"],
        accepted=accepted,
        rejected=rejected,
        event_counts=counts[:, 2:],
        event_ts=times.transpose(2, 0, 1),
        stats=replace(stats, steps=int(accepted.sum()), rejected=int(rejected.sum())),
    )
