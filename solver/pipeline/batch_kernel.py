"""All that it takes to run batches of any size over a device: one thing to own, to look at and to close."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from solver.errors import SolverTimeoutError, WatcherDiedError, WritebackError
from solver.pipeline.arrays import InputArrays, ManagedArray, OutputArrays
from solver.pipeline.bound import Depth
from solver.pipeline.chunks import ChunkPlan, Chunks
from solver.pipeline.estate import Estate
from solver.pipeline.feeder import Feeder
from solver.pipeline.patience import SLICE
from solver.pipeline.stats import Stats
from solver.pipeline.timeline import Timeline
from solver.pipeline.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from solver.devices.device import Device, DeviceArray
    from solver.pipeline.memory import MemoryManager
    from solver.pipeline.pool import BufferSpec, ChunkBufferPool
    from solver.pipeline.watcher import Watcher
    from solver.pipeline.work import Work
    from solver.progress import Progress

__all__ = ["BatchKernel"]


class BatchKernel:
    """Runs batches over a device, one at a time.

    Parameters
    ----------
    device, memory, watcher
        Owned by the same solver.
    patience
        Longest time in seconds without progress; ``None`` for the faults only.
    depth
        How much of everything chunks take turns in.
    """

    def __init__(
        self,
        device: Device,
        memory: MemoryManager,
        watcher: Watcher,
        patience: float | None,
        depth: Depth | None = None,
    ) -> None:
        self._device = device
        self._memory = memory
        self._patience = patience
        self._depth = depth or Depth()
        self._estate = Estate(device, memory)
        self._turn = Turn(device.clock)
        self._input_arrays: InputArrays | None = None
        self._output_arrays: OutputArrays | None = None
        self._timeline = Timeline(device)
        self.watcher = watcher
        self.plan: ChunkPlan | None = None
        # Dropped without close(), a solver has a thread that waits for work: that one ends everything.
        watcher.bequeath(partial(self._estate.wind_up, patience))

    @property
    def pool(self) -> ChunkBufferPool:
        """The pinned buffers."""
        return self._estate.pool

    @property
    def input_arrays(self) -> InputArrays:
        """What the last solve sent to the device."""
        if self._input_arrays is None:
            message = "nothing was solved yet: call solve() first"
            raise AttributeError(message)
        return self._input_arrays

    @property
    def output_arrays(self) -> OutputArrays:
        """What it got back."""
        if self._output_arrays is None:
            message = "nothing was solved yet: call solve() first"
            raise AttributeError(message)
        return self._output_arrays

    def run(self, work: Work, progress: Progress | None = None) -> tuple[Stats, dict[str, DeviceArray]]:
        """Solve a batch; return what it took and what stayed on the device.

        Parameters
        ----------
        work
            The batch.
        progress
            Called by this thread with the number of chunks at home, and of all.

        Raises
        ------
        MemoryError
            When not even one run fits on the device, or what is to stay there does not.
        SolverTimeoutError
            When nothing moved for the whole patience, with a dump of what is where.
        WritebackError, WatcherDiedError, DeviceError
            What went wrong on the other side.
        SolverClosedError
            When :meth:`close` was called, also from another thread and in the middle.
        SolverError
            When another thread solves.
        """
        with self._turn.taken(), self._dump(), self._let_go():
            self._settle()
            plan = self.plan = self._plan(work)
            timeline = self._timeline = Timeline(self._device)
            self._furnish(work, plan)
            seconds = self._pass_through(work, plan, timeline, progress)
            kept = {name: self._estate.sets[0].arrays[name] for name in work.kept}
            self._estate.settle(self._patience)
            return self._stats(plan, timeline, seconds), kept

    def _pass_through(
        self, work: Work, plan: ChunkPlan, timeline: Timeline, progress: Progress | None
    ) -> float:
        """Bring every chunk there and back; return the seconds it took."""

        def check() -> None:
            self._turn.check()
            self.watcher.check()
            if progress is not None:
                progress(timeline.chunks, len(plan.bounds))

        groups = self.input_arrays, self.output_arrays
        feeder = Feeder(
            work, plan, self._device, self._estate, self.watcher, groups, timeline, self._patience, check
        )
        started = self._device.clock.now()
        feeder.run()
        self.watcher.wait_all(self._patience, check)
        seconds = self._device.clock.now() - started
        check()
        return seconds

    def wait_for_writeback(self, timeout: float | None = None) -> None:
        """Wait until every chunk is in the caller's arrays.

        Parameters
        ----------
        timeout
            Longest time in seconds without progress; ``None`` for the solver's patience.

        Raises
        ------
        SolverTimeoutError
            When nothing moved for so long, with a dump of what is where.
        WritebackError, WatcherDiedError
            What went wrong in the watcher.
        """
        with self._dump():
            self.watcher.wait_all(self._patience if timeout is None else timeout)

    def close(self, timeout: float | None = None) -> None:
        """End the threads and free all buffers. May be called again, also after it raised.

        Called while another thread solves, it makes that one raise first.

        Parameters
        ----------
        timeout
            Longest wait in seconds for each of solve, threads, device and buffers.

        Raises
        ------
        SolverTimeoutError
            When something is still in use; what could be freed safely was.
        SolverError
            When called by the solve itself, for instance by its progress function.
        """
        timeout = 60.0 if timeout is None else timeout
        with self._dump():
            self._turn.end(timeout)
            self.watcher.shutdown(timeout)
            self._estate.wind_up(timeout)

    def describe(self) -> str:
        """Return the state of chunks, buffers, events and threads for people."""
        chunks = len(self.plan.bounds) if self.plan else 0
        submitted = self._timeline.submitted
        held = [
            f"{kind} {len(arrays._active_buffers)}"  # noqa: SLF001 - the original's name for it
            for kind, arrays in (("in", self._input_arrays), ("out", self._output_arrays))
            if arrays is not None
        ]
        return "\n".join(
            [
                f"chunks: {submitted} of {chunks} submitted; active: {', '.join(held) or 'none'}",
                self.pool.describe(),
                self._memory.registry.describe(),
                self.watcher.describe(),
            ]
        )

    @contextmanager
    def _dump(self) -> Iterator[None]:
        """Let errors that leave something unfinished say what is where."""
        try:
            yield
        except (SolverTimeoutError, WatcherDiedError) as error:
            error.state = self.describe()
            raise

    @contextmanager
    def _let_go(self) -> Iterator[None]:
        """After an error free what nobody uses any more; what is still in use waits for close."""
        try:
            yield
        except BaseException:
            with suppress(SolverTimeoutError):
                self._estate.settle(SLICE)
            raise

    def _settle(self) -> None:
        # What a solve that failed half-way left on the way still writes to its buffers; its errors were its.
        with suppress(WritebackError):
            self.watcher.wait_all(self._patience)
        self._estate.settle(self._patience)

    def _plan(self, work: Work) -> ChunkPlan:
        if not work.kept:
            return self._memory.plan(work, self._device, self._depth.sets)
        needed = work.bytes_shared + work.bytes_in + work.bytes_out + work.bytes_kept
        free = self._memory.free(self._device)
        if free != Chunks(1) and (isinstance(free, Chunks) or needed > free):
            limit = (
                f"the batch is to be cut into {free.count}"
                if isinstance(free, Chunks)
                else f"{free} are free"
            )
            message = (
                f"results can only stay on the device when the whole batch fits: it takes {needed} bytes, "
                f"but {limit}; solve it with fewer runs, or let the results come to the host"
            )
            raise MemoryError(message)
        return ChunkPlan(((0, work.n_runs),), 1)

    def _furnish(self, work: Work, plan: ChunkPlan) -> None:
        """Make room for the plan on both sides, and have the threads."""
        inputs = [ManagedArray(name, host, plan.runs) for name, host in work.inputs.items()]
        outputs = [
            ManagedArray(name, host, plan.runs, fresh=name in work.fresh)
            for name, host in work.outputs.items()
        ]
        self._input_arrays, self._output_arrays = InputArrays(inputs), OutputArrays(outputs)
        depth = self._depth.needed(len(plan.bounds))
        self.pool.prepare(
            {
                **{array.name: (array.spec, plan.sets) for array in inputs},
                **{array.name: (array.spec, depth.copies) for array in outputs},
            },
            self._patience,
        )
        # At once: from here on there is something to free, and a thread that does it when nobody else can.
        self.watcher.start(depth.writers)
        specs: dict[str, BufferSpec] = {array.name: array.spec for array in (*inputs, *outputs)}
        self._estate.furnish({**specs, **work.kept}, plan.sets)
        for name, array in work.shared.items():
            self._memory.registry.add("device", name, array.nbytes)

    def _stats(self, plan: ChunkPlan, timeline: Timeline, seconds: float) -> Stats:
        registry = self._memory.registry
        return Stats(
            chunks=len(plan.bounds),
            chunk_runs=plan.runs,
            depth=self._depth.needed(len(plan.bounds)),
            pinned_bytes=registry.peak("pinned"),
            device_bytes=registry.peak("device"),
            stages=timeline.mean(),
            pipeline_seconds=seconds,
        )
