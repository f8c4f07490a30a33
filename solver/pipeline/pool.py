"""Pinned staging buffers, a few of each kind, lent to one chunk after another."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.errors import SolverClosedError, SolverTimeoutError
from solver.pipeline.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from solver.devices.device import Device
    from solver.pipeline.memory import MemoryManager, PinnedGrant

__all__ = ["BufferSpec", "ChunkBufferPool", "Layout", "PinnedBuffer"]


@dataclass(frozen=True, slots=True)
class BufferSpec:
    """Shape and type of one kind of buffer."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of one buffer."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class PinnedBuffer:
    """One page-locked array of a pool, which it keeps alive while it is lent."""

    def __init__(self, name: str, array: NDArray[Any], pool: ChunkBufferPool) -> None:
        self.name = name
        self.array = array
        self.pool = pool

    def release(self) -> None:
        """Give the buffer back to its pool."""
        self.pool.give_back(self.name, self.array)


Layout = dict[str, tuple[BufferSpec, int]]
"""How many buffers of which shape there are of every kind."""


class ChunkBufferPool:
    """A counted pool: so many buffers of every kind, made at once and freed at once.

    The solving thread takes buffers for outputs, in the order of the chunks, and writers give them back: one
    of each kind is enough to finish. Those for inputs it takes once a solve and gives back itself.

    Parameters
    ----------
    memory
        Where the right to pinned memory comes from.
    device
        What makes the arrays.
    """

    def __init__(self, memory: MemoryManager, device: Device) -> None:
        self._memory = memory
        self._device = device
        self._layout: Layout = {}
        self._free: dict[str, list[NDArray[Any]]] = {}
        self._lent = 0
        self._returns = 0
        self._clock = device.clock
        self._changed = self._clock.condition()
        self._closed = False
        self._freed: weakref.finalize[[], ChunkBufferPool] | None = None

    @property
    def nbytes(self) -> int:
        """Pinned bytes that the pool holds, lent or not."""
        return sum(copies * spec.nbytes for spec, copies in self._layout.values())

    def prepare(self, layout: Layout, timeout: float | None) -> None:
        """Hold the buffers of a layout; what is held already is kept when it is the same.

        Raises
        ------
        SolverTimeoutError
            When buffers of another layout stay lent, or the host has not the memory in time.
        """
        if layout == self._layout and not self._closed:
            return
        # Freed before more is asked for: holding some while waiting for more is how two processes lock up.
        self._free_all(timeout)
        nbytes = sum(copies * spec.nbytes for spec, copies in layout.values())
        try:
            grant = self._memory.pinned.reserve(nbytes, timeout)
        except TimeoutError as error:
            message = (
                f"{nbytes} bytes of pinned memory did not become free: {error}; close solvers that are done"
            )
            raise SolverTimeoutError(message, self.describe()) from error
        self._fill(layout, grant)

    def _fill(self, layout: Layout, grant: PinnedGrant) -> None:
        # Also when the pool is dropped without close(): a lent buffer keeps it, so never while one is in use.
        self._freed = weakref.finalize(self, grant.release)
        try:
            self._allocate(layout)
        except BaseException:
            self._freed()
            raise
        for name, (spec, copies) in layout.items():
            self._memory.registry.add("pinned", name, copies * spec.nbytes)

    def _allocate(self, layout: Layout) -> None:
        with self._changed:
            if self._closed:
                message = "the buffer pool was closed while it waited for memory; open another solver"
                raise SolverClosedError(message)
            self._free = {
                name: [self._device.pinned(spec.shape, spec.dtype) for _ in range(copies)]
                for name, (spec, copies) in layout.items()
            }
            self._layout = layout

    def acquire(self, name: str, timeout: float | None, check: Callable[[], None]) -> PinnedBuffer:
        """Take a buffer, waiting for one that is lent to come back.

        Parameters
        ----------
        name
            Kind of buffer.
        timeout
            Longest wait in seconds without any buffer coming back; ``None`` waits for ever.
        check
            Called now and then while waiting; raises when nothing can come back any more.

        Raises
        ------
        SolverTimeoutError
            When none came back.
        """
        patience = Patience(timeout, self._clock)
        while True:
            with self._changed:
                if self._closed:
                    message = f"no {name} buffer can be had: the pool is closed; open another solver"
                    raise SolverClosedError(message)
                if self._free[name]:
                    self._lent += 1
                    return PinnedBuffer(name, self._free[name].pop(), self)
                left = patience.left(self._returns)
                if left > 0:
                    self._changed.wait(left)
            if left <= 0:
                message = f"no {name} buffer came back to the pool within {timeout} s; see who holds them"
                raise SolverTimeoutError(message, self.describe())
            # Outside of our lock: it looks at the watcher, which takes its own.
            check()

    def give_back(self, name: str, array: NDArray[Any]) -> None:
        """Take back a lent array; called by :meth:`PinnedBuffer.release`."""
        self._device.discard(array)
        with self._changed:
            self._free[name].append(array)
            self._lent -= 1
            self._returns += 1
            self._changed.notify_all()

    def close(self, timeout: float | None = 30.0) -> None:
        """Free all buffers. May be called again, also after it raised.

        Raises
        ------
        SolverTimeoutError
            When lent buffers did not come back: they may be in use by the device, so they are not freed.
        """
        with self._changed:
            self._closed = True
        self._free_all(timeout)

    def _free_all(self, timeout: float | None) -> None:
        patience = Patience(timeout, self._clock)
        with self._changed:
            while self._lent:
                left = patience.left(self._returns)
                if left <= 0:
                    message = (
                        f"{self._lent} pinned buffers are still lent after {timeout} s and cannot be freed"
                    )
                    raise SolverTimeoutError(message, self.describe())
                self._changed.wait(left)
            self._free, self._layout = {}, {}
        self._memory.registry.drop("pinned")
        # The arrays are gone before the right to them is: another process may take it at once.
        self._device.trim()
        if self._freed is not None:
            self._freed()

    def describe(self) -> str:
        """Return one line for people."""
        free = ", ".join(
            f"{name} {len(arrays)} of {self._layout[name][1]} free"
            for name, arrays in sorted(self._free.items())
        )
        return f"pool: {self.nbytes} bytes pinned, {self._lent} buffers lent; {free or 'empty'}"
