"""The way of a batch: chunk by chunk through pinned buffers to the device, through the kernel, and back."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from solver.arrays import InputArrays, ManagedArray, OutputArrays
from solver.errors import SolverTimeoutError, WatcherDiedError, WritebackError
from solver.patience import Patience
from solver.pool import ChunkBufferPool
from solver.tasks import WritebackTask

if TYPE_CHECKING:
    from solver.batch import Batch
    from solver.chunks import ChunkPlan
    from solver.device import CompiledKernel, Device, DeviceArray, Event
    from solver.memory import MemoryManager
    from solver.schedule import Schedule
    from solver.watcher import Watcher

__all__ = ["BatchKernel", "SetOfArrays"]


@dataclass(slots=True)
class SetOfArrays:
    """Device arrays of one chunk, and the events after which they may be used again.

    Attributes
    ----------
    arrays
        Device arrays by name.
    computed
        After it the inputs may be overwritten.
    downloaded
        After it the outputs may be.
    """

    arrays: dict[str, DeviceArray]
    computed: Event | None = None
    downloaded: Event | None = None


class BatchKernel:
    """A compiled kernel with all that it takes to run it over a batch of any size.

    Liveness: this thread takes pinned buffers, in the order of chunks; the watcher gives them back and never
    takes any. So one buffer of each kind and one set of device arrays are enough to come to the end.

    Parameters
    ----------
    kernel
        See :func:`solver.cuda_kernel.build_kernel`.
    device, memory, watcher
        Owned by the same solver.
    patience
        Longest time in seconds without progress; ``None`` for the faults only.
    sets
        Sets of device arrays once a batch is cut.
    copies
        Pinned buffers of each kind, then.
    """

    def __init__(
        self,
        kernel: CompiledKernel,
        device: Device,
        memory: MemoryManager,
        watcher: Watcher,
        patience: float | None,
        sets: int = 2,
        copies: int = 2,
    ) -> None:
        self._kernel = kernel
        self._device = device
        self._memory = memory
        self._patience = patience
        self._sets = sets
        self._copies = copies
        self.watcher = watcher
        self.pool = ChunkBufferPool(memory, device)
        self.plan: ChunkPlan | None = None
        self._input_arrays: InputArrays | None = None
        self._output_arrays: OutputArrays | None = None
        self._submitted = 0
        self._places: list[SetOfArrays] = []

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

    def run(self, batch: Batch, schedule: Schedule) -> None:
        """Solve a batch into new :attr:`output_arrays`.

        Raises
        ------
        SolverTimeoutError
            When nothing moved for the whole patience, with a dump of what is where.
        WritebackError, WatcherDiedError, DeviceError
            What went wrong on the other side.
        """
        try:
            self._settle()
            plan = self._prepare(batch, schedule)
            self._feed(plan, schedule)
        except (SolverTimeoutError, WatcherDiedError) as error:
            error.state = self.describe()
            raise
        self.wait_for_writeback()

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
        try:
            self.watcher.wait_all(self._patience if timeout is None else timeout)
        except (SolverTimeoutError, WatcherDiedError) as error:
            error.state = self.describe()
            raise

    def close(self, timeout: float | None = None) -> None:
        """End the watcher and free all buffers. May be called again, also after it raised.

        Parameters
        ----------
        timeout
            Longest wait in seconds for each of thread, device and buffers.

        Raises
        ------
        SolverTimeoutError
            When something is still in use; what could be freed safely was.
        """
        timeout = 60.0 if timeout is None else timeout
        try:
            self.watcher.shutdown(timeout)
            self._drain_device(timeout)
            self.pool.close(timeout)
        except SolverTimeoutError as error:
            error.state = self.describe()
            raise
        self._drop_sets()

    def describe(self) -> str:
        """Return the state of chunks, buffers, events and threads for people."""
        chunks = len(self.plan.bounds) if self.plan else 0
        held = [
            f"{kind} {len(arrays._active_buffers)}"  # noqa: SLF001 - the original's name for it
            for kind, arrays in (("in", self._input_arrays), ("out", self._output_arrays))
            if arrays is not None
        ]
        return "\n".join(
            [
                f"chunks: {self._submitted} of {chunks} submitted; active: {', '.join(held) or 'none'}",
                self.pool.describe(),
                self._memory.registry.describe(),
                self.watcher.describe(),
            ]
        )

    def _settle(self) -> None:
        # What a solve that failed half-way left on the way still writes to its buffers; its errors were its.
        with suppress(WritebackError):
            self.watcher.wait_all(self._patience)
        self._drain_device(self._patience)
        self._drop_sets()

    def _drop_sets(self) -> None:
        self._places.clear()
        self._memory.registry.drop("device")
        self._device.trim()

    def _prepare(self, batch: Batch, schedule: Schedule) -> ChunkPlan:
        n_states, n_runs = batch.y0.shape
        ys = np.empty((len(schedule.ts), n_states, n_runs), batch.y0.dtype)
        status = np.empty((n_runs,), np.int32)
        hosts = {"y0": batch.y0, "params": batch.params, "ys": ys, "status": status}
        per_run = sum(host.nbytes for host in hosts.values()) // n_runs
        plan = self.plan = self._memory.plan(n_runs, per_run, self._device, self._sets)
        arrays = {name: ManagedArray(name, host, plan.runs) for name, host in hosts.items()}
        self._input_arrays = InputArrays(arrays["y0"], arrays["params"])
        self._output_arrays = OutputArrays(arrays["ys"], arrays["status"])
        self._submitted = 0
        specs = {name: array.spec for name, array in arrays.items()}
        self.pool.prepare(specs, min(self._copies, len(plan.bounds)), self._patience)
        for name, spec in specs.items():
            self._memory.registry.add("device", name, plan.sets * spec.nbytes)
        self._places.extend(
            SetOfArrays({name: self._device.empty(spec.shape, spec.dtype) for name, spec in specs.items()})
            for _ in range(plan.sets)
        )
        return plan

    def _feed(self, plan: ChunkPlan, schedule: Schedule) -> None:
        """Queue every chunk; sets of device arrays take turns."""
        steps = [self._device.constant(a) for a in (schedule.starts, schedule.widths, schedule.counts)]
        for index, bounds in enumerate(plan.bounds):
            place = self._places[index % plan.sets]
            self._upload(index, bounds, place)
            self._compute(bounds, place, steps)
            self._download(index, bounds, place)
            self._submitted += 1

    def _upload(self, index: int, bounds: tuple[int, int], place: SetOfArrays) -> None:
        loan = self.input_arrays.lend(self.pool, self._patience, self.watcher.check)
        try:
            self.input_arrays.stage(loan, bounds)
            # The last kernel on this set still reads its inputs.
            if place.computed is not None:
                self._device.after("in", place.computed)
            for name, buffer in loan.buffers.items():
                self._device.upload(buffer.array, place.arrays[name])
            uploaded = self._device.record("in")
            self._device.after("run", uploaded)
        except BaseException:
            loan.release()
            raise
        # Queueing the launch does not end the reading of the staging buffers: only this event does.
        self._submit(WritebackTask(f"upload of chunk {index}", uploaded, loan))

    def _compute(self, bounds: tuple[int, int], place: SetOfArrays, steps: list[DeviceArray]) -> None:
        # The last results in this set are still on their way out.
        if place.downloaded is not None:
            self._device.after("run", place.downloaded)
        arrays = place.arrays
        n_runs = bounds[1] - bounds[0]
        arguments = (arrays["y0"], arrays["params"], *steps, arrays["ys"], arrays["status"], n_runs)
        self._device.launch(self._kernel, n_runs, arguments)
        place.computed = self._device.record("run")
        self._device.after("out", place.computed)

    def _download(self, index: int, bounds: tuple[int, int], place: SetOfArrays) -> None:
        outputs = self.output_arrays
        loan = outputs.lend(self.pool, self._patience, self.watcher.check)
        try:
            for name, buffer in loan.buffers.items():
                self._device.download(place.arrays[name], buffer.array)
            place.downloaded = self._device.record("out")
        except BaseException:
            loan.release()
            raise
        copy = partial(outputs.unstage, bounds=bounds)
        self._submit(WritebackTask(f"download of chunk {index}", place.downloaded, loan, copy))

    def _submit(self, task: WritebackTask) -> None:
        try:
            self.watcher.submit(task)
        except BaseException:
            # Nobody will look at them; the lanes are drained before the pool is freed.
            task.loan.release()
            raise

    def _drain_device(self, timeout: float | None) -> None:
        patience = Patience(timeout)
        while not self._device.drained():
            left = patience.left()
            if left <= 0:
                message = (
                    f"the device did not come to the end of its work within {timeout} s; call close() again"
                )
                raise SolverTimeoutError(message)
            time.sleep(min(left, 1e-3))
