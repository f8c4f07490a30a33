"""Pinned staging buffers, a few of each kind, lent to one chunk after another."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.errors import SolverClosedError, SolverTimeoutError
from solver.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from solver.device import Device
    from solver.memory import MemoryManager, PinnedGrant

__all__ = ["BufferSpec", "ChunkBufferPool", "PinnedBuffer"]


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


class ChunkBufferPool:
    """A counted pool: `copies` buffers of every kind, made at once and freed at once.

    The thread that takes buffers is never the one that gives them back, and takes them in the order of the
    chunks, so that one buffer of each kind is enough for everything to finish.

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
        self._layout: tuple[dict[str, BufferSpec], int] = ({}, 0)
        self._free: dict[str, list[NDArray[Any]]] = {}
        self._lent = 0
        self._returns = 0
        self._changed = threading.Condition()
        self._closed = False
        self._freed: weakref.finalize[[], ChunkBufferPool] | None = None

    @property
    def nbytes(self) -> int:
        """Pinned bytes that the pool holds, lent or not."""
        specs, copies = self._layout
        return copies * sum(spec.nbytes for spec in specs.values())

    def prepare(self, specs: Mapping[str, BufferSpec], copies: int, timeout: float | None) -> None:
        """Hold `copies` buffers of each kind; what is held already is kept when it fits.

        Raises
        ------
        SolverTimeoutError
            When buffers of another layout stay lent, or the host has not the memory in time.
        """
        layout = (dict(specs), copies)
        if layout == self._layout and not self._closed:
            return
        # Freed before more is asked for: holding some while waiting for more is how two processes lock up.
        self._free_all(timeout)
        nbytes = copies * sum(spec.nbytes for spec in specs.values())
        try:
            grant = self._memory.pinned.reserve(nbytes, timeout)
        except TimeoutError as error:
            message = (
                f"{nbytes} bytes of pinned memory did not become free: {error}; close solvers that are done"
            )
            raise SolverTimeoutError(message, self.describe()) from error
        self._fill(layout, grant)

    def _fill(self, layout: tuple[dict[str, BufferSpec], int], grant: PinnedGrant) -> None:
        specs, copies = layout
        # Also when the pool is dropped without close(): a lent buffer keeps it, so never while one is in use.
        self._freed = weakref.finalize(self, grant.release)
        with self._changed:
            if self._closed:
                self._freed()
                message = "the buffer pool was closed while it waited for memory; open another solver"
                raise SolverClosedError(message)
            self._free = {
                name: [self._device.pinned(spec.shape, spec.dtype) for _ in range(copies)]
                for name, spec in specs.items()
            }
            self._layout = layout
        for name, spec in specs.items():
            self._memory.registry.add("pinned", name, copies * spec.nbytes)

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
        patience = Patience(timeout)
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
        patience = Patience(timeout)
        with self._changed:
            while self._lent:
                left = patience.left(self._returns)
                if left <= 0:
                    message = (
                        f"{self._lent} pinned buffers are still lent after {timeout} s and cannot be freed"
                    )
                    raise SolverTimeoutError(message, self.describe())
                self._changed.wait(left)
            self._free, self._layout = {}, ({}, 0)
        self._memory.registry.drop("pinned")
        # The arrays are gone before the right to them is: another process may take it at once.
        self._device.trim()
        if self._freed is not None:
            self._freed()

    def describe(self) -> str:
        """Return one line for people."""
        copies = self._layout[1]
        free = ", ".join(
            f"{name} {len(arrays)} of {copies} free" for name, arrays in sorted(self._free.items())
        )
        return f"pool: {self.nbytes} bytes pinned, {self._lent} buffers lent; {free or 'empty'}"
