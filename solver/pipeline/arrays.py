"""The arrays of a solve on the host, and the pinned buffers that stand in for them chunk by chunk."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.pipeline.pool import BufferSpec, ChunkBufferPool, PinnedBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from solver.devices.device import Device

__all__ = ["ArrayGroup", "InputArrays", "Loan", "ManagedArray", "OutputArrays"]

_PAGE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class ManagedArray:
    """A host array with the run axis last, moved in chunks of at most `chunk_runs` runs.

    Attributes
    ----------
    name
        Kind of buffer that it is staged through.
    host
        The caller's side: ordinary pageable memory, or an array of the caller's own of any strides.
    chunk_runs
        Runs of the longest chunk.
    fresh
        Whether nobody has written to `host` yet.
    """

    name: str
    host: NDArray[Any]
    chunk_runs: int
    fresh: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        return self.host.shape

    @property
    def chunked_shape(self) -> tuple[int, ...]:
        """Shape of what is on the device at a time; the same as :attr:`shape` when nothing is cut."""
        return (*self.host.shape[:-1], self.chunk_runs)

    @property
    def needs_chunked_transfer(self) -> bool:
        """Whether the array goes over in more than one piece."""
        return self.chunked_shape != self.shape

    @property
    def spec(self) -> BufferSpec:
        """The buffer that a chunk needs, on the device and in pinned memory."""
        return BufferSpec(self.chunked_shape, self.host.dtype)

    def part(self, bounds: tuple[int, int]) -> NDArray[Any]:
        """Return the view of the host array that one chunk covers."""
        return self.host[..., bounds[0] : bounds[1]]

    def make_pages(self, bounds: tuple[int, int]) -> None:
        """Write to every page of a part of a fresh array, so that the copy into it finds them all."""
        if self.fresh:
            part = self.part(bounds)
            part[..., :: _PAGE // self.host.itemsize] = 0
            part[..., -1] = 0


class Loan:
    """The buffers of one group for one chunk, until the device no longer needs them."""

    def __init__(self, group: ArrayGroup, pool: ChunkBufferPool) -> None:
        self.buffers: dict[str, PinnedBuffer] = {}
        self.pool = pool
        self._group = group

    def release(self) -> None:
        """Give everything back; a second call does nothing."""
        buffers, self.buffers = self.buffers, {}
        self._group.returned(list(buffers.values()))


class ArrayGroup:
    """Arrays that travel together; each can be reached by its name as an attribute.

    Parameters
    ----------
    arrays
        In the order in which their buffers are taken.
    """

    def __init__(self, arrays: Iterable[ManagedArray]) -> None:
        self._arrays = {array.name: array for array in arrays}
        self._active_buffers: list[PinnedBuffer] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[ManagedArray]:
        return iter(self._arrays.values())

    def __getattr__(self, name: str) -> ManagedArray:
        # Asked for private names too, by copying and pickling, before there is anything to look in.
        if name.startswith("_") or name not in self._arrays:
            raise AttributeError(name)
        return self._arrays[name]

    def lend(self, pool: ChunkBufferPool, timeout: float | None, check: Callable[[], None]) -> Loan:
        """Take one buffer for each array; all of them or, when one cannot be had, none.

        See :meth:`solver.pipeline.pool.ChunkBufferPool.acquire` for parameters and errors.
        """
        loan = Loan(self, pool)
        try:
            for array in self:
                buffer = pool.acquire(array.name, timeout, check)
                loan.buffers[array.name] = buffer
                with self._lock:
                    self._active_buffers.append(buffer)
        except BaseException:
            loan.release()
            raise
        return loan

    def returned(self, buffers: list[PinnedBuffer]) -> None:
        """Give buffers back to their pool; called by :meth:`Loan.release`."""
        for buffer in buffers:
            with self._lock:
                self._active_buffers.remove(buffer)
            buffer.release()


class InputArrays(ArrayGroup):
    """What goes to the device, chunk by chunk.

    Of a :class:`BatchSolver` those of ``y0``, ``params``, ``span`` and ``ts`` of which each run has its own.
    """

    def stage(self, loan: Loan, bounds: tuple[int, int]) -> None:
        """Copy one chunk into its pinned buffers."""
        for array in self:
            part = array.part(bounds)
            np.copyto(loan.buffers[array.name].array[..., : part.shape[-1]], part)


class OutputArrays(ArrayGroup):
    """What comes back, chunk by chunk.

    Of a :class:`BatchSolver` ``ys`` unless it stays on the device, ``t_end``, ``counts``, ``status`` and,
    with events, ``event_t``.
    """

    def unstage(self, loan: Loan, bounds: tuple[int, int], device: Device) -> None:
        """Copy one chunk from its pinned buffers; the event of its download must have come."""
        for array in self:
            part = array.part(bounds)
            device.write_back(loan.buffers[array.name].array[..., : part.shape[-1]], part)
