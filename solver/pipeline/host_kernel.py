"""Batches on the processor: the same chunks, solved in place, without a pipeline.

Programs take the numbers of the runs to make, so a chunk is a range of the caller's own arrays and nothing is
copied: all chunks are launched as one, and threads go from one to the next without waiting for each other.
Only into a target that is not run-last in memory does a chunk go by way of arrays of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.devices.clock import SystemClock
from solver.devices.cpu import available_cores, run_chunks
from solver.pipeline.arrays import InputArrays, ManagedArray, OutputArrays
from solver.pipeline.bound import Depth, Stages
from solver.pipeline.chunks import ChunkPlan, plan_chunks
from solver.pipeline.stats import Stats
from solver.pipeline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from solver.devices.cpu import HostDevice, Range
    from solver.pipeline.memory import MemoryManager
    from solver.pipeline.work import Work
    from solver.progress import Progress

__all__ = ["HostKernel"]

_SCRATCH = 64 << 20
"""Bytes of a chunk's own arrays where no limit was said."""


@dataclass(frozen=True, slots=True)
class _Launcher:
    """What a launch sees as its device: makes the runs of some chunks, and is done when it returns."""

    device: HostDevice
    turn: Turn
    chunks: Sequence[Range]
    told: Callable[[int], None]

    def launch(self, block: Callable[..., None], n_runs: int, arguments: tuple[Any, ...]) -> None:
        threads = available_cores() if self.device.threads is None else self.device.threads
        least, closing = self.device.least_slice, lambda: self.turn.closing
        run_chunks(block, self.chunks, arguments, threads, least, closing, self.told)


class HostKernel:
    """Runs batches on the processor, one at a time; offers what :class:`BatchKernel` does.

    Parameters
    ----------
    device
        How to compute.
    memory
        Owned by the same solver; its limit says how long chunks are.
    """

    def __init__(self, device: HostDevice, memory: MemoryManager) -> None:
        self._device = device
        self._memory = memory
        self._turn = Turn(SystemClock())
        self._arrays: tuple[InputArrays, OutputArrays] | None = None
        self.plan: ChunkPlan | None = None

    @property
    def input_arrays(self) -> InputArrays:
        """What the last solve read."""
        return self._groups()[0]

    @property
    def output_arrays(self) -> OutputArrays:
        """What it wrote."""
        return self._groups()[1]

    def run(self, work: Work, progress: Progress | None = None) -> tuple[Stats, dict[str, NDArray[Any]]]:
        """Solve a batch; return what it took and what was to stay on the device, which is the host.

        Parameters
        ----------
        work
            The batch.
        progress
            Called with the number of chunks that are done, and of all.

        Raises
        ------
        MemoryError
            When the limit is less than one run takes.
        SolverClosedError
            When :meth:`close` was called, also from another thread and in the middle.
        SolverError
            When another thread solves.
        """
        with self._turn.taken():
            kept = {name: np.empty(spec.shape, spec.dtype) for name, spec in work.kept.items()}
            targets = {**work.outputs, **kept}
            in_place = all(array.flags.c_contiguous for array in targets.values())
            plan = self.plan = self._plan(work, in_place=in_place)
            self._arrays = (
                InputArrays(ManagedArray(name, host, plan.runs) for name, host in work.inputs.items()),
                OutputArrays(ManagedArray(name, host, plan.runs) for name, host in work.outputs.items()),
            )
            clock = SystemClock()
            begun = clock.now()

            def told(done: int) -> None:
                self._turn.check()
                if progress is not None:
                    progress(done, len(plan.bounds))

            if in_place:
                arrays = {**work.shared, **work.inputs, **targets}
                work.launch(self._launcher(plan.bounds, told), arrays, work.n_runs)
            else:
                told(0)
                for done, bounds in enumerate(plan.bounds, 1):
                    self._by_way_of_own(work, targets, bounds)
                    told(done)
            return self._stats(plan, clock.now() - begun), kept

    def wait_for_writeback(self, timeout: float | None = None) -> None:
        """Return at once: a chunk is in the caller's arrays when it is computed."""

    def close(self, timeout: float | None = None) -> None:
        """Let nobody solve any more. May be called again, also after it raised.

        Parameters
        ----------
        timeout
            Longest wait in seconds for a solve in another thread; ``None`` for 60 s.

        Raises
        ------
        SolverTimeoutError
            When that solve did not end: a single run takes longer than this.
        SolverError
            When called by the solve itself, for instance by its progress function.
        """
        self._turn.end(60.0 if timeout is None else timeout)

    def describe(self) -> str:
        """Return the state for people."""
        chunks = len(self.plan.bounds) if self.plan else 0
        return f"chunks: {chunks} on '{self._device.mode}'\n{self._memory.registry.describe()}"

    def _groups(self) -> tuple[InputArrays, OutputArrays]:
        if self._arrays is None:
            message = "nothing was solved yet: call solve() first"
            raise AttributeError(message)
        return self._arrays

    def _plan(self, work: Work, *, in_place: bool) -> ChunkPlan:
        per_run = -(-(work.bytes_in + work.bytes_out + work.bytes_kept) // work.n_runs)
        limit = self._memory.limit
        if limit is None:
            whole = ChunkPlan(((0, work.n_runs),), 1)
            return whole if in_place else plan_chunks(work.n_runs, per_run, max(_SCRATCH, per_run), 1)
        return plan_chunks(work.n_runs, per_run, limit, 1, shared=work.bytes_shared)

    def _launcher(self, chunks: Sequence[Range], told: Callable[[int], None]) -> _Launcher:
        return _Launcher(self._device, self._turn, chunks, told)

    def _by_way_of_own(self, work: Work, targets: dict[str, NDArray[Any]], bounds: Range) -> None:
        # One chunk a call: its arrays are gone before those of the next are made.
        start, stop = bounds
        inputs = {name: np.ascontiguousarray(array[..., start:stop]) for name, array in work.inputs.items()}
        own = {
            name: np.empty((*array.shape[:-1], stop - start), array.dtype) for name, array in targets.items()
        }
        launcher = self._launcher(((0, stop - start),), lambda _: self._turn.check())
        work.launch(launcher, {**work.shared, **inputs, **own}, stop - start)
        for name, array in targets.items():
            array[..., start:stop] = own[name]

    def _stats(self, plan: ChunkPlan, seconds: float) -> Stats:
        chunks = len(plan.bounds)
        return Stats(
            chunks=chunks,
            chunk_runs=plan.runs,
            depth=Depth(1, 1, 1),
            pinned_bytes=0,
            device_bytes=0,
            stages=Stages(0.0, seconds / chunks, 0.0, 0.0),
            pipeline_seconds=seconds,
        )
