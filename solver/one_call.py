"""One batch in one call: in this process, or over the workers of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from solver.batch_solver import BatchSolver

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from solver.devices.choice import Backend
    from solver.devices.cpu import HostDevice
    from solver.devices.device import Device
    from solver.pipeline.chunks import MemoryLimit
    from solver.problem import Problem
    from solver.solution import Solution

__all__ = ["solve_batch"]


def solve_batch(
    problem: Problem,
    y0: ArrayLike,
    params: ArrayLike,
    t_span: ArrayLike,
    *,
    method: str = "tsit5",
    dtype: DTypeLike = np.float64,
    backend: Backend | Device | HostDevice = "auto",
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_steps: int = 100_000,
    memory_limit: MemoryLimit = None,
    client: Any = None,
    part_runs: int | None = None,
    **options: Any,
) -> Solution:
    """Solve one batch and free everything.

    Parameters
    ----------
    problem, method, dtype, backend, rtol, atol, max_steps, memory_limit
        As of :class:`solver.BatchSolver`; on a cluster, of the one on each worker.
    y0, params, t_span, options
        As of :meth:`solver.BatchSolver.solve`.
    client
        A ``dask.distributed.Client``: the batch is cut into parts and solved by its workers, each part by one
        thread of the processor or by the worker's device. A part whose worker is lost is solved by another.
        The result is the same to the last bit.
    part_runs
        Runs of a part, for a client; ``None`` for four parts a thread and no more than 32 MiB of states each.

    Raises
    ------
    SolverError, ValueError, MemoryError
        As :meth:`solver.BatchSolver.solve`; over a cluster also a :class:`solver.SolverTimeoutError` when no
        part comes home for ten minutes.
    """
    how: dict[str, Any] = {
        "method": method,
        "dtype": dtype,
        "backend": backend,
        "rtol": rtol,
        "atol": atol,
        "max_steps": max_steps,
        "memory_limit": memory_limit,
    }
    what: dict[str, Any] = {"y0": y0, "params": params, "t_span": t_span, **options}
    if client is not None:
        from solver.cluster import solve_on_cluster

        return solve_on_cluster(client, problem, how, what, part_runs)
    if part_runs is not None:
        message = "part_runs cuts a batch for a cluster: give its client, or say memory_limit=Chunks(n)"
        raise ValueError(message)
    with BatchSolver(problem, **how) as solver:
        return solver.solve(**what)
