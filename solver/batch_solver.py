"""The solver as users see it: a context manager, a function for one call, and the solution."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from solver.batch import check_dtype, make_batch
from solver.device import Backend, Device, open_device
from solver.errors import SolverClosedError
from solver.faults import Fault, make_watcher
from solver.memory import MemoryManager
from solver.pipeline import BatchKernel
from solver.schedule import fixed_steps
from solver.steps import METHODS

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from solver.chunks import MemoryLimit
    from solver.device import CompiledKernel
    from solver.problem import Problem

__all__ = ["BatchSolver", "Solution", "Stats", "Status", "solve_batch"]


class Status(enum.IntEnum):
    """How one run ended; a run that fails leaves its neighbours alone."""

    OK = 0
    NON_FINITE = 1


@dataclass(frozen=True, slots=True)
class Stats:
    """What a solve took.

    Attributes
    ----------
    chunks
        Chunks that the batch was cut into.
    chunk_runs
        Runs of the longest.
    steps
        Integration steps of one run.
    pinned_bytes
        Pinned memory held meanwhile.
    seconds
        Wall time.
    """

    chunks: int
    chunk_runs: int
    steps: int
    pinned_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Solution:
    """The result of a batch.

    Attributes
    ----------
    ts
        Saved times, ``(n_saved,)``.
    ys
        States, ``(n_runs, n_saved, n_states)``: a view of memory in which the run is the last axis.
    status
        A :class:`Status` for every run, ``(n_runs,)``.
    stats
        What it took.
    """

    ts: NDArray[np.float64]
    ys: NDArray[Any]
    status: NDArray[np.int32]
    stats: Stats


class BatchSolver:
    """Solves batches of one problem; owns device arrays, pinned buffers and a thread until it is closed.

    Parameters
    ----------
    problem
        What to solve.
    method
        A fixed-step method; see :data:`solver.steps.METHODS`.
    dtype
        float32 or float64, of states and parameters.
    backend
        ``"auto"``, ``"cuda"``, ``"sim"``, or a device.
    memory_limit
        Forced free device memory: bytes, text such as ``"64 KiB"``, or :class:`solver.Chunks`.
    memory
        A memory manager of one's own, instead of `memory_limit`.
    patience
        Longest time in seconds that anything may stand still before an error says what is where.
    sets
        Sets of device arrays that chunks take turns in.
    copies
        Pinned buffers of each kind.
    fault
        For demonstrations and tests only: see :mod:`solver.faults`.

    Raises
    ------
    ValueError
        When an argument makes no sense.
    RuntimeError
        When the backend cannot work here.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        method: str = "rk4",
        dtype: DTypeLike = np.float64,
        backend: Backend | Device = "auto",
        memory_limit: MemoryLimit = None,
        memory: MemoryManager | None = None,
        patience: float = 60.0,
        sets: int = 2,
        copies: int = 2,
        fault: Fault = Fault.NONE,
    ) -> None:
        if method not in METHODS:
            message = f"method {method!r} is not known; use one of {', '.join(sorted(METHODS))}"
            raise ValueError(message)
        if memory is not None and memory_limit is not None:
            message = "memory and memory_limit were both given; say the limit in MemoryManager(limit=...)"
            raise ValueError(message)
        if min(sets, copies) < 1 or patience <= 0:
            message = f"sets={sets}, copies={copies} and patience={patience} must all be positive"
            raise ValueError(message)
        self.problem = problem
        self.method = method
        self.dtype = check_dtype(dtype)
        self.device = open_device(backend)
        self.memory = memory or MemoryManager(memory_limit)
        self.solution: Solution | None = None
        self.kernel = BatchKernel(
            _compile(problem, method, self.dtype, self.device),
            self.device,
            self.memory,
            make_watcher(fault, problem.name, patience),
            fault.patience(patience),
            sets,
            copies,
        )
        self._closed = False

    def solve(
        self,
        y0: ArrayLike,
        params: ArrayLike,
        t_span: tuple[float, float],
        *,
        dt: float,
        saveat: ArrayLike | None = None,
    ) -> Solution:
        """Solve a batch.

        Parameters
        ----------
        y0
            Initial states, ``(n_runs, n_states)``, or ``(n_states,)`` for all runs.
        params
            Parameters, ``(n_runs, n_params)`` or ``(n_params,)``.
        t_span
            Start and end.
        dt
            Longest step.
        saveat
            Times to save at, ``(n_saved,)``; ``None`` saves the final state only.

        Raises
        ------
        ValueError
            When an argument does not fit.
        MemoryError
            When not even one run fits on the device.
        SolverClosedError
            After :meth:`close`.
        SolverTimeoutError, WritebackError, WatcherDiedError, DeviceError
            See :meth:`solver.pipeline.BatchKernel.run`.
        """
        if self._closed:
            message = f"the solver of {self.problem.name} is closed; open another"
            raise SolverClosedError(message)
        started = time.perf_counter()
        problem = self.problem
        batch = make_batch(y0, params, problem.n_states, problem.n_params, self.dtype)
        schedule = fixed_steps(t_span, dt, saveat)
        problem.probe(float(t_span[0]), batch.y0[:, 0], batch.params[: problem.n_params, 0])
        self.kernel.run(batch, schedule)
        plan, outputs = self.kernel.plan, self.kernel.output_arrays
        stats = Stats(
            chunks=len(plan.bounds) if plan else 0,
            chunk_runs=plan.runs if plan else 0,
            steps=schedule.n_steps,
            pinned_bytes=self.kernel.pool.nbytes,
            seconds=time.perf_counter() - started,
        )
        ys = outputs.ys.host.transpose(2, 0, 1)
        self.solution = Solution(schedule.ts, ys, outputs.status.host, stats)
        return self.solution

    def close(self, timeout: float | None = None) -> None:
        """End the thread and free all memory. May be called again, also after it raised.

        Parameters
        ----------
        timeout
            Longest wait in seconds for each part; ``None`` for 60 s.

        Raises
        ------
        SolverTimeoutError
            When something is still in use, with a dump of what is where. Nothing unsafe was freed.
        """
        self._closed = True
        self.kernel.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _compile(problem: Problem, method: str, dtype: np.dtype[Any], device: Device) -> CompiledKernel:
    # Imported here: numba takes half a second, and reads its switches when it is first imported.
    from solver.cuda_kernel import build_kernel

    return build_kernel(problem, method, dtype, device.device_function)


def solve_batch(
    problem: Problem,
    y0: ArrayLike,
    params: ArrayLike,
    t_span: tuple[float, float],
    *,
    method: str = "rk4",
    dt: float,
    saveat: ArrayLike | None = None,
    dtype: DTypeLike = np.float64,
    backend: Backend | Device = "auto",
    memory_limit: MemoryLimit = None,
) -> Solution:
    """Solve one batch and free everything; parameters and errors as of :class:`BatchSolver`."""
    with BatchSolver(
        problem, method=method, dtype=dtype, backend=backend, memory_limit=memory_limit
    ) as solver:
        return solver.solve(y0, params, t_span, dt=dt, saveat=saveat)
