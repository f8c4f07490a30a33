"""One batch over the workers of a dask cluster.

The batch is cut into parts along the runs. Each is a task of its own: dask gives a part whose worker was lost
to another, and since no run knows of any other, the whole is the same to the last bit. Only so many parts are
on the way that each thread of a worker has one in hand and one in store, which bounds the memory of workers
and of the scheduler; a part that is home is forgotten there.
"""

from __future__ import annotations

import importlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.batch import check_dtype, make_batch
from solver.errors import SolverTimeoutError
from solver.pipeline.bound import Depth, Stages
from solver.pipeline.stats import Stats
from solver.progress import progress_to
from solver.solution import Solution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from solver.problem import Problem

__all__ = ["PART_BYTES", "solve_on_cluster"]

PART_BYTES = 32 << 20
"""Longest part, by the bytes of what comes back of it."""

PARTS_PER_THREAD = 4
"""Fewest parts for each thread of a worker: two are on the way (`_completed`), two more even out that some
take longer."""

_ROWS = ("y0", "params", "t_span", "saveat")
_FIELDS = ("ys", "status", "t_end", "accepted", "rejected", "event_counts", "event_ts")


def solve_part(problem: Problem, how: Mapping[str, Any], what: Mapping[str, Any]) -> Solution:
    """Solve one part; what a worker does."""
    from solver.batch_solver import BatchSolver
    from solver.devices.choice import open_device
    from solver.devices.cpu import HostDevice

    device = open_device(how["backend"])
    if isinstance(device, HostDevice):
        # The other cores are other tasks'.
        device = HostDevice(device.mode, threads=1)
    with BatchSolver(problem, **{**how, "backend": device}) as solver:
        return solver.solve(**what)


def solve_on_cluster(
    client: Any,
    problem: Problem,
    how: Mapping[str, Any],
    what: Mapping[str, Any],
    part_runs: int | None = None,
    patience: float = 600.0,
) -> Solution:
    """Solve a batch over the workers of a cluster.

    Parameters
    ----------
    client
        A ``dask.distributed.Client``; its workers need this package and what the right-hand side uses.
    problem
        What to solve.
    how, what
        Arguments of :class:`solver.BatchSolver` and of :meth:`solver.BatchSolver.solve`.
    part_runs
        Runs of a part; ``None`` for four parts a thread, of at most :data:`PART_BYTES` of states each.
    patience
        Longest time in seconds in which no part comes home.

    Raises
    ------
    ValueError
        When an argument does not fit, or is one that only makes sense in one process.
    SolverTimeoutError
        When no part came home within the patience; the rest is cancelled.
    Exception
        What a part failed with, of the type that it had on the worker.
    """
    what = dict(what)
    out, progress = what.pop("out", None), what.pop("progress", False)
    if what.get("result", "host") != "host":
        message = "results of a cluster come to the host: leave result= out"
        raise ValueError(message)
    if part_runs is not None and part_runs < 1:
        message = f"part_runs={part_runs} makes no part; give at least 1, or None"
        raise ValueError(message)
    given = {name: np.asarray(what[name]) for name in _ROWS if what.get(name) is not None}
    batch = make_batch(
        problem,
        check_dtype(how["dtype"]),
        given["y0"],
        given["params"],
        given["t_span"],
        what.get("saveat"),
        what.get("drivers"),
    )
    parts = _parts(batch.n_runs, part_runs or _default_runs(client, problem, how, what, batch.n_runs))
    started = time.perf_counter()
    home: dict[str, NDArray[Any]] = {} if out is None else {"ys": out}
    stats: list[Stats] = []
    jobs = (
        (bounds, (problem, how, {**what, **{n: _cut(rows, bounds) for n, rows in given.items()}}))
        for bounds in parts
    )
    with progress_to(progress, problem.name) as show:
        for bounds, solved in _completed(client, jobs, patience):
            _bring_home(home, batch.n_runs, bounds, solved)
            stats.append(solved.stats)
            show(len(stats), len(parts))
    return Solution(ts=batch.ts, **home, stats=_sum(stats, time.perf_counter() - started))


def _cut(rows: NDArray[Any], bounds: tuple[int, int]) -> NDArray[Any]:
    return rows[slice(*bounds)] if rows.ndim == 2 else rows


def _parts(n_runs: int, part_runs: int) -> list[tuple[int, int]]:
    return [(start, min(start + part_runs, n_runs)) for start in range(0, n_runs, part_runs)]


def _threads(client: Any) -> int:
    return sum(client.nthreads().values()) or 1


def _default_runs(
    client: Any, problem: Problem, how: Mapping[str, Any], what: Mapping[str, Any], n_runs: int
) -> int:
    saved = 1 if what.get("saveat") is None else np.shape(what["saveat"])[-1]
    per_run = saved * problem.n_states * check_dtype(how["dtype"]).itemsize
    return max(1, min(-(-n_runs // (PARTS_PER_THREAD * _threads(client))), PART_BYTES // per_run))


def _completed(
    client: Any, jobs: Iterator[Any], patience: float
) -> Iterator[tuple[tuple[int, int], Solution]]:
    """Yield bounds and solution of each part, in any order, with few on the way at a time."""
    distributed: Any = importlib.import_module("distributed")

    running: dict[Any, tuple[int, int]] = {}
    waiting = deque(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < 2 * _threads(client):
                bounds, job = waiting.popleft()
                # Not pure: keys by content would have every array hashed. A part that killed its worker three
                # times is given up by the scheduler.
                running[client.submit(solve_part, *job, pure=False)] = bounds
            try:
                done = distributed.wait(list(running), timeout=patience, return_when="FIRST_COMPLETED").done
            except TimeoutError as error:
                message = (
                    f"no part came home for {patience} s; {len(running)} are with {len(client.nthreads())} "
                    f"workers and {len(waiting)} to come: look at the workers, or raise patience"
                )
                raise SolverTimeoutError(message) from error
            for future in done:
                bounds = running.pop(future)
                yield bounds, future.result()
                future.release()
    finally:
        client.cancel(list(running))


def _bring_home(
    home: dict[str, NDArray[Any]], n_runs: int, bounds: tuple[int, int], solved: Solution
) -> None:
    for name in _FIELDS:
        part = getattr(solved, name)
        if name not in home:
            # Run last in memory, as everywhere.
            home[name] = np.moveaxis(np.empty((*part.shape[1:], n_runs), part.dtype), -1, 0)
        if home[name].shape != (n_runs, *part.shape[1:]) or home[name].dtype != part.dtype:
            message = (
                f"out must be an array {(n_runs, *part.shape[1:])} of {part.dtype}; "
                f"got {home[name].shape} of {home[name].dtype}"
            )
            raise ValueError(message)
        home[name][slice(*bounds)] = part


def _sum(stats: list[Stats], seconds: float) -> Stats:
    """Return the whole of all parts: a chunk is a part here."""
    run = sum(part.pipeline_seconds for part in stats) / len(stats)
    return Stats(
        chunks=len(stats),
        chunk_runs=max(part.chunk_runs for part in stats),
        depth=Depth(1, 1, 1),
        pinned_bytes=max(part.pinned_bytes for part in stats),
        device_bytes=max(part.device_bytes for part in stats),
        stages=Stages(0.0, run, 0.0, 0.0),
        pipeline_seconds=seconds,
        steps=sum(part.steps for part in stats),
        rejected=sum(part.rejected for part in stats),
        seconds=seconds,
    )
