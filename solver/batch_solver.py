"""The solver as users see it: a context manager, a function for one call, and the solution."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from solver.batch import check_dtype, make_batch
from solver.devices.device import Backend, Device, open_device
from solver.errors import SolverClosedError
from solver.pipeline.batch_kernel import BatchKernel
from solver.pipeline.bound import Lanes
from solver.pipeline.faults import Fault, make_watcher
from solver.pipeline.memory import MemoryManager
from solver.pipeline.pool import BufferSpec
from solver.pipeline.work import Work
from solver.progress import progress_to
from solver.schedule import fixed_steps
from solver.solution import DeviceResult, Solution
from solver.steps import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from solver.batch import Batch
    from solver.devices.device import CompiledKernel, DeviceArray
    from solver.pipeline.chunks import MemoryLimit
    from solver.pipeline.stats import Stats
    from solver.pipeline.work import Launch
    from solver.problem import Problem
    from solver.progress import Progress
    from solver.schedule import Schedule

__all__ = ["BatchSolver", "solve_batch"]


class BatchSolver:
    """Solves batches of one problem; owns device arrays, pinned buffers and threads until it is closed.

    Dropped without :meth:`close` it is closed by its own threads, and what was still on the way is lost.

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
        Pinned buffers for each output.
    writers
        Threads that copy from them; no more than there are chunks.
    fault
        For demonstrations and tests only: see :mod:`solver.pipeline.faults`.

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
        copies: int = 3,
        writers: int = 2,
        fault: Fault = Fault.NONE,
    ) -> None:
        if method not in METHODS:
            message = f"method {method!r} is not known; use one of {', '.join(sorted(METHODS))}"
            raise ValueError(message)
        if memory is not None and memory_limit is not None:
            message = "memory and memory_limit were both given; say the limit in MemoryManager(limit=...)"
            raise ValueError(message)
        if patience <= 0:
            message = f"patience={patience} must be positive; it is in seconds"
            raise ValueError(message)
        lanes = Lanes(sets, copies, writers)
        self.problem = problem
        self.method = method
        self.dtype = check_dtype(dtype)
        self.device = open_device(backend)
        self.memory = memory or MemoryManager(memory_limit)
        self.solution: Solution | None = None
        self._compiled = _compile(problem, method, self.dtype, self.device)
        self.kernel = BatchKernel(
            self.device,
            self.memory,
            make_watcher(fault, problem.name, patience, self.device.clock),
            fault.patience(patience),
            lanes,
        )
        self._closed = False

    @property
    def stats(self) -> Stats | None:
        """What the last solve took; ``None`` before there was one."""
        return self.solution.stats if self.solution else None

    def solve(
        self,
        y0: ArrayLike,
        params: ArrayLike,
        t_span: tuple[float, float],
        *,
        dt: float,
        saveat: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
        result: Literal["host", "device"] = "host",
        progress: bool | Progress = False,
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
        out
            Array for the states, ``(n_runs, n_saved, n_states)``, of the solver's `dtype` and any strides.
            Fastest with the run last in memory, as ``np.zeros((n_saved, n_states, n_runs)).transpose(2, 0,
            1)``. Its contents are undefined when this raises.
        result
            ``"device"`` leaves the states on the device, as a :class:`DeviceResult`: the whole batch has to
            fit there.
        progress
            Shows a bar, by tqdm and not where ``CI`` is set; or a function of the chunks done and of all.

        Raises
        ------
        ValueError
            When an argument does not fit.
        MemoryError
            When not even one run fits on the device, or the results cannot stay there.
        SolverClosedError
            After :meth:`close`, also when that is called in the middle.
        SolverTimeoutError, WritebackError, WatcherDiedError, DeviceError, SolverError
            See :meth:`solver.pipeline.batch_kernel.BatchKernel.run`.
        """
        if self._closed:
            message = f"the solver of {self.problem.name} is closed; open another"
            raise SolverClosedError(message)
        started = time.perf_counter()
        problem = self.problem
        batch = make_batch(y0, params, problem.n_states, problem.n_params, self.dtype)
        schedule = fixed_steps(t_span, dt, saveat)
        problem.probe(float(t_span[0]), batch.y0[:, 0], batch.params[: problem.n_params, 0])
        target = _target(batch, schedule, out, result)
        work = _work(self._compiled, batch, schedule, target, fresh=out is None)
        with progress_to(progress, problem.name) as show:
            stats, kept = self.kernel.run(work, show)
        stats = replace(stats, steps=schedule.n_steps, seconds=time.perf_counter() - started)
        # The caller's own array, or a view of ours.
        ys = DeviceResult(kept["ys"]) if target is None else target.transpose(2, 0, 1) if out is None else out
        self.solution = Solution(schedule.ts, ys, self.kernel.output_arrays.status.host, stats)
        return self.solution

    def close(self, timeout: float | None = None) -> None:
        """End the threads and free all memory. May be called again, also after it raised.

        Called while another thread solves, it ends that solve with a :class:`SolverClosedError`.

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


def _target(batch: Batch, schedule: Schedule, out: NDArray[Any] | None, result: str) -> NDArray[Any] | None:
    """Return the array for the states, ``(n_saved, n_states, n_runs)``; none when they stay on the device."""
    n_states, n_runs = batch.y0.shape
    shape = (n_runs, len(schedule.ts), n_states)
    if result not in {"host", "device"} or (result == "device" and out is not None):
        message = f"result must be 'host' or, without out=, 'device'; got {result!r}"
        raise ValueError(message)
    if out is not None and (out.shape != shape or out.dtype != batch.y0.dtype or not out.flags.writeable):
        message = (
            f"out must be a writable array {shape} of {batch.y0.dtype}; got {out.shape} of {out.dtype}"
            f"{'' if out.flags.writeable else ', read-only'}"
        )
        raise ValueError(message)
    if result == "device":
        return None
    return np.empty((*shape[1:], n_runs), batch.y0.dtype) if out is None else out.transpose(1, 2, 0)


def _work(
    kernel: CompiledKernel, batch: Batch, schedule: Schedule, target: NDArray[Any] | None, *, fresh: bool
) -> Work:
    n_states, n_runs = batch.y0.shape
    outputs: dict[str, NDArray[Any]] = {}
    kept = {}
    if target is None:
        kept["ys"] = BufferSpec((len(schedule.ts), n_states, n_runs), batch.y0.dtype)
    else:
        outputs["ys"] = target
    outputs["status"] = np.empty((n_runs,), np.int32)
    return Work(
        launch=_launch_of(kernel),
        inputs={"y0": batch.y0, "params": batch.params},
        shared={"starts": schedule.starts, "widths": schedule.widths, "counts": schedule.counts},
        outputs=outputs,
        kept=kept,
        fresh=frozenset(outputs if fresh else {"status"}),
    )


def _launch_of(kernel: CompiledKernel) -> Launch:
    def launch(device: Device, arrays: Mapping[str, DeviceArray], n_runs: int) -> None:
        names = ("y0", "params", "starts", "widths", "counts", "ys", "status")
        device.launch(kernel, n_runs, (*(arrays[name] for name in names), n_runs))

    return launch


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
