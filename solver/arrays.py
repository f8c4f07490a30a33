"""The arrays of a solve on the host, and the pinned buffers that stand in for them chunk by chunk."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.pool import BufferSpec, ChunkBufferPool, PinnedBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["ArrayGroup", "InputArrays", "Loan", "ManagedArray", "OutputArrays"]


@dataclass(frozen=True, slots=True, eq=False)
class ManagedArray:
    """A host array with the run axis last, moved in chunks of at most `chunk_runs` runs.

    Attributes
    ----------
    name
        Kind of buffer that it is staged through.
    host
        The caller's side: ordinary pageable memory.
    """

    name: str
    host: NDArray[Any]
    chunk_runs: int

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


@dataclass(eq=False)
class ArrayGroup:
    """Arrays that travel together; subclasses name them."""

    def __post_init__(self) -> None:
        self._active_buffers: list[PinnedBuffer] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[ManagedArray]:
        return (getattr(self, field.name) for field in fields(self))

    def lend(self, pool: ChunkBufferPool, timeout: float | None, check: Callable[[], None]) -> Loan:
        """Take one buffer for each array; all of them or, when one cannot be had, none.

        See :meth:`solver.pool.ChunkBufferPool.acquire` for parameters and errors.
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


@dataclass(eq=False)
class InputArrays(ArrayGroup):
    """What goes to the device.

    Attributes
    ----------
    y0, params
        ``(n_states, n_runs)`` and ``(n_params, n_runs)``.
    """

    y0: ManagedArray
    params: ManagedArray

    def stage(self, loan: Loan, bounds: tuple[int, int]) -> None:
        """Copy one chunk into its pinned buffers."""
        for array in self:
            part = array.part(bounds)
            np.copyto(loan.buffers[array.name].array[..., : part.shape[-1]], part)


@dataclass(eq=False)
class OutputArrays(ArrayGroup):
    """What comes back.

    Attributes
    ----------
    ys, status
        ``(n_saved, n_states, n_runs)`` and ``(n_runs,)``.
    """

    ys: ManagedArray
    status: ManagedArray

    def unstage(self, loan: Loan, bounds: tuple[int, int]) -> None:
        """Copy one chunk from its pinned buffers; the event of its download must have come."""
        for array in self:
            part = array.part(bounds)
            np.copyto(part, loan.buffers[array.name].array[..., : part.shape[-1]])
