"""The way of one batch: chunk by chunk to the device, through the kernel, and back.

One thread feeds and never waits for what it could do later. Sets of device arrays take turns; the three
streams wait for each other by events, and the host for two things only: a staging buffer whose upload is not
over, and a pinned buffer for a download.

Liveness: the feeder alone takes pinned buffers, in the order of chunks, and gives back none that a writer
waits for; the writers give them back and never take anything. So one pinned buffer and one set of device
arrays are enough to come to the end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from solver.errors import SolverTimeoutError
from solver.pipeline.patience import Patience
from solver.pipeline.tasks import WritebackTask
from solver.pipeline.timeline import Marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from solver.devices.device import Device, Event
    from solver.pipeline.arrays import InputArrays, Loan, OutputArrays
    from solver.pipeline.chunks import ChunkPlan
    from solver.pipeline.estate import Estate
    from solver.pipeline.timeline import Span, Timeline
    from solver.pipeline.watcher import Watcher
    from solver.pipeline.work import Work

__all__ = ["Feeder"]


def _bring_home(
    loan: Loan, outputs: OutputArrays, bounds: tuple[int, int], device: Device, done: Callable[[float], None]
) -> None:
    started = device.clock.now()
    outputs.unstage(loan, bounds, device)
    done(device.clock.now() - started)


class Feeder:
    """Queues every chunk of a plan.

    Parameters
    ----------
    work
        The batch.
    plan, device, estate, watcher
        Of the solver.
    groups
        What is sent and what comes back, as arrays that travel in chunks.
    timeline
        Told of every chunk.
    patience
        Longest time in seconds without progress.
    check
        Called after each chunk and while it waits; raises when there is nothing to wait for.
    """

    def __init__(
        self,
        work: Work,
        plan: ChunkPlan,
        device: Device,
        estate: Estate,
        watcher: Watcher,
        groups: tuple[InputArrays, OutputArrays],
        timeline: Timeline,
        patience: float | None,
        check: Callable[[], None],
    ) -> None:
        self._launch = work.launch
        self._shared = {name: device.constant(array) for name, array in work.shared.items()}
        self._plan = plan
        self._device = device
        self._estate = estate
        self._watcher = watcher
        self._inputs, self._outputs = groups
        self._timeline = timeline
        self._patience = patience
        self._check = check
        self._uploads: list[Span] = []
        self._runs: list[Span] = []
        self._downloads: list[Span] = []

    def run(self) -> None:
        """Queue all chunks and hand each download to a writer; return without waiting for the last ones.

        Raises
        ------
        SolverTimeoutError
            When no buffer came back for the whole patience.
        """
        chunks, ahead = len(self._plan.bounds), self._plan.sets
        for index in range(ahead):
            self._upload(index)
            self._compute(index)
        for index in range(chunks):
            # As early as anything lets them: an upload needs the inputs of a set, a launch its outputs too,
            # which are free when the download that is queued in between has ended.
            if index + ahead < chunks:
                self._upload(index + ahead)
            self._download(index)
            if index + ahead < chunks:
                self._compute(index + ahead)

    def _upload(self, index: int) -> None:
        device, before = self._device, index - self._plan.sets
        place = self._estate.sets[index % self._plan.sets]
        if place.staging is None:
            place.staging = self._inputs.lend(self._estate.pool, self._patience, self._check)
        if before >= 0:
            # Queueing a copy does not end the reading of the staging buffers: only this event does.
            self._wait_for(self._uploads[before][1], f"upload of chunk {before}")
            # The last kernel on this set still reads its inputs.
            device.after("in", self._runs[before][1])
        self._inputs.stage(place.staging, self._plan.bounds[index])
        begin = device.record("in")
        for name, buffer in place.staging.buffers.items():
            device.upload(buffer.array, place.arrays[name])
        self._uploads.append((begin, device.record("in")))

    def _compute(self, index: int) -> None:
        device, before = self._device, index - self._plan.sets
        place = self._estate.sets[index % self._plan.sets]
        device.after("run", self._uploads[index][1])
        if before >= 0:
            # The last results in this set are still on their way out.
            device.after("run", self._downloads[before][1])
        start, stop = self._plan.bounds[index]
        begin = device.record("run")
        self._launch(device, {**place.arrays, **self._shared}, stop - start)
        self._runs.append((begin, device.record("run")))

    def _download(self, index: int) -> None:
        for array in self._outputs:
            # Here, since the kernel runs meanwhile and no writer has seen this part yet.
            array.make_pages(self._plan.bounds[index])
        loan = self._outputs.lend(self._estate.pool, self._patience, self._check)
        try:
            self._watcher.submit(self._queue_download(index, loan))
        except BaseException:
            # No writer has it. The streams are drained before any pinned memory is freed.
            loan.release()
            raise
        self._timeline.submitted += 1
        self._check()

    def _queue_download(self, index: int, loan: Loan) -> WritebackTask:
        device, place = self._device, self._estate.sets[index % self._plan.sets]
        device.after("out", self._runs[index][1])
        begin = device.record("out")
        for name, buffer in loan.buffers.items():
            device.download(place.arrays[name], buffer.array)
        self._downloads.append((begin, device.record("out")))
        marks = Marks(self._uploads[index], self._runs[index], self._downloads[index])
        copy = partial(
            _bring_home,
            outputs=self._outputs,
            bounds=self._plan.bounds[index],
            device=device,
            done=partial(self._timeline.add, marks),
        )
        return WritebackTask(f"download of chunk {index}", marks.download[1], loan, copy)

    def _wait_for(self, event: Event, what: str) -> None:
        patience = Patience(self._patience, self._device.clock)
        while not event.wait(max(patience.left(), 0.0)):
            if patience.left() <= 0:
                message = f"the {what} did not end within {self._patience} s; look at the device"
                raise SolverTimeoutError(message)
            self._check()
