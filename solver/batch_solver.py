"""The solver as users see it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from solver.assembly import make_solution, make_work
from solver.batch import check_dtype, make_batch
from solver.devices.choice import Backend, open_device
from solver.devices.cpu import HostDevice
from solver.ensemble import MOST_STEPS, check_numbers
from solver.errors import SolverClosedError
from solver.numerics.methods import method_named
from solver.numerics.recipe import Event, Recipe
from solver.pipeline.batch_kernel import BatchKernel
from solver.pipeline.bound import Depth
from solver.pipeline.faults import Fault, make_watcher
from solver.pipeline.host_kernel import HostKernel
from solver.pipeline.memory import MemoryManager
from solver.progress import progress_to
from solver.solution import DeviceResult, Solution

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from solver.devices.device import Device
    from solver.numerics.drivers import Drivers
    from solver.pipeline.chunks import MemoryLimit
    from solver.pipeline.stats import Stats
    from solver.problem import Problem
    from solver.progress import Progress

__all__ = ["BatchSolver"]

EventLike = Event | Callable[..., Any]


class BatchSolver:
    """Solves batches of one problem; owns device arrays, pinned buffers and threads until it is closed.

    Dropped without :meth:`close` it is closed by its own threads, and what was still on the way is lost.
    Results are the same to the last bit on ``cpu``, ``python`` and ``sim``, and however a batch is ordered,
    cut or spread over buffers and threads.

    Parameters
    ----------
    problem
        What to solve.
    method
        ``"tsit5"``, ``"dp5"``, ``"bs3"`` or ``"heun2"`` with adaptive or fixed steps, ``"rodas4"`` for stiff
        problems, ``"rk4"`` with fixed steps only; see :data:`solver.numerics.methods.METHODS` for sources.
    dtype
        float32 or float64, of states, parameters and times.
    backend
        ``"cuda"``, ``"sim"`` (numba's simulator), ``"cpu"`` (compiled, in SIMD lanes), ``"python"`` or a
        device; ``"auto"`` takes CUDA where a device works, else the processor.
    rtol, atol
        A step of length h is good when the estimated error of every state is at most ``atol + rtol*(|y| +
        h*|y'|)``, both taken where it begins (``rodas4``: ``atol + rtol*|y|``, the larger of both ends).
    max_steps
        Attempts that each run has, with adaptive steps; less than 2**31.
    contract
        Let the compiler for the processor fuse multiplications with additions: faster, and no longer the same
        to the last bit as elsewhere.
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

    Notes
    -----
    On ``cpu`` and ``python`` nothing is staged: chunks are solved where their arrays are, and `patience`,
    `sets`, `copies` and `writers` mean nothing.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        method: str = "tsit5",
        dtype: DTypeLike = np.float64,
        backend: Backend | Device | HostDevice = "auto",
        rtol: float = 1e-6,
        atol: float = 1e-8,
        max_steps: int = 100_000,
        contract: bool = False,
        memory_limit: MemoryLimit = None,
        memory: MemoryManager | None = None,
        patience: float = 60.0,
        sets: int = 2,
        copies: int = 3,
        writers: int = 2,
        fault: Fault = Fault.NONE,
    ) -> None:
        method_named(method)
        check_numbers(0.0, rtol, atol, max_steps)
        if memory is not None and memory_limit is not None:
            message = "memory and memory_limit were both given; say the limit in MemoryManager(limit=...)"
            raise ValueError(message)
        if patience <= 0:
            message = f"patience={patience} must be positive; it is in seconds"
            raise ValueError(message)
        depth = Depth(sets, copies, writers)
        self.problem = problem
        self.dtype = check_dtype(dtype)
        self.memory = memory or MemoryManager(memory_limit)
        self.device = open_device(backend)
        self.solution: Solution | None = None
        self._recipe = Recipe(
            problem.rhs,
            problem.n_states,
            problem.n_params,
            method,
            self.dtype,
            fixed=True,
            contract=contract,
        )
        self._tolerances = {"rtol": rtol, "atol": atol}
        self._max_steps = max_steps
        self.kernel = self._make_kernel(fault, patience, depth)
        self._closed = False

    @property
    def method(self) -> str:
        """The method's name."""
        return self._recipe.method

    @property
    def stats(self) -> Stats | None:
        """What the last solve took; ``None`` before there was one."""
        return self.solution.stats if self.solution else None

    def solve(
        self,
        y0: ArrayLike,
        params: ArrayLike,
        t_span: ArrayLike,
        *,
        dt: float | None = None,
        h0: float = 0.0,
        saveat: ArrayLike | None = None,
        summary: str | Sequence[str] = (),
        events: EventLike | Sequence[EventLike] = (),
        drivers: Drivers | None = None,
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
            Start and end, ``(2,)``, or ``(n_runs, 2)`` for a span of each run's own.
        dt
            Fixed steps of this length, in units of `t_span`; the last is as short as it has to be. ``None``
            for adaptive ones.
        h0
            First adaptive step; 0 to choose one for each run.
        saveat
            Increasing times to save at, ``(n_saved,)`` or ``(n_runs, n_saved)``; ``None`` saves the final
            state only. Where runs have spans of their own, times outside of one are NaN.
        summary
            ``"mean"``, ``"min"``, ``"max"``, ``"final"``, or several: kept of the states at `saveat`, run by
            run where they are computed, instead of the states.
        events
            What to watch: :class:`solver.Event`, or plain functions ``(t, y, p) -> number`` whose changes of
            sign are counted.
        drivers
            Sampled inputs, the right-hand side's fourth argument: :class:`solver.Drivers`.
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
        numbers = {**self._tolerances, **_steps(dt, h0, self._max_steps), "drivers": drivers}
        batch = make_batch(self.problem, self.dtype, y0, params, t_span, saveat, drivers)
        recipe = replace(
            self._recipe,
            fixed=dt is not None,
            points=saveat is not None,
            summary=(summary,) if isinstance(summary, str) else tuple(summary),
            events=_events(events),
            n_drivers=drivers.count if drivers else 0,
            driver_degree=drivers.degree if drivers else 1,
        )
        work = make_work(recipe, batch, self.device, numbers, out, result)
        with progress_to(progress, self.problem.name) as show:
            stats, kept = self.kernel.run(work, show)
        if kept:
            states: Any = DeviceResult(kept["ys"])
        else:
            states = work.outputs["ys"].transpose(2, 0, 1) if out is None else out
        stats = replace(stats, seconds=time.perf_counter() - started)
        self.solution = make_solution(batch, work.outputs, states, stats)
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

    def _make_kernel(self, fault: Fault, patience: float, depth: Depth) -> Any:
        if isinstance(self.device, HostDevice):
            if fault is not Fault.NONE:
                message = f"{fault} needs a writeback thread, and backend {self.device.mode!r} has none"
                raise ValueError(message)
            return HostKernel(self.device, self.memory)
        watcher = make_watcher(fault, self.problem.name, patience, self.device.clock)
        return BatchKernel(self.device, self.memory, watcher, fault.patience(patience), depth)


def _steps(dt: float | None, h0: float, max_steps: int) -> dict[str, Any]:
    """Return first step and number of attempts."""
    if dt is None:
        check_numbers(h0, 1.0, 1.0, max_steps)
        return {"h0": h0, "max_steps": max_steps}
    if h0 or not (math.isfinite(dt) and dt > 0):
        message = f"dt must be a positive step, and stands alone: got dt={dt!r}, h0={h0!r}"
        raise ValueError(message)
    # The span decides how many there are.
    return {"h0": dt, "max_steps": MOST_STEPS}


def _events(events: EventLike | Sequence[EventLike]) -> tuple[Event, ...]:
    given = events if isinstance(events, Sequence) else (events,)
    return tuple(event if isinstance(event, Event) else Event(event) for event in given)
