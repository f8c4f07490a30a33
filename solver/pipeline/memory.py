"""Who holds how much: device memory, pinned memory, and the door through which a solver takes the latter."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from solver.pipeline.bound import wanted_chunks
from solver.pipeline.chunks import ChunkPlan, Chunks, MemoryLimit, parse_limit, plan_chunks

if TYPE_CHECKING:
    from solver.devices.device import Device
    from solver.pipeline.work import Work

__all__ = ["BufferRegistry", "MemoryManager", "OpenHost", "PinnedGrant", "PinnedHost"]


class PinnedGrant(Protocol):
    """The right to so many bytes of pinned memory."""

    def release(self) -> None:
        """Give the bytes back; called once."""


class PinnedHost(Protocol):
    """The host as a source of pinned memory, which processes share.

    Replace it to share a ceiling among processes, or to see what a solver takes. A solver reserves everything
    that a solve needs in *one* call and holds nothing while it waits, so that two solvers can never each hold
    a half of what both want.
    """

    def reserve(self, nbytes: int, timeout: float | None) -> PinnedGrant:
        """Wait at most `timeout` seconds (``None``: for ever) for `nbytes`.

        Raises
        ------
        TimeoutError
            When they did not become free in time, naming who holds them if that is known.
        """


class _OpenGrant:
    def release(self) -> None:
        """Nothing was counted."""


class OpenHost:
    """A host that grants everything: whether the memory is there is left to the driver."""

    def reserve(self, nbytes: int, timeout: float | None) -> PinnedGrant:
        """Grant at once."""
        return _OpenGrant()


class BufferRegistry:
    """Every buffer that one solver holds at the moment, by kind and name, and the most it ever held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], int] = {}
        self._peaks: dict[str, int] = {}

    def add(self, kind: str, name: str, nbytes: int) -> None:
        """Note that `nbytes` more of a kind ("device" or "pinned") are held under a name."""
        with self._lock:
            self._held[kind, name] = self._held.get((kind, name), 0) + nbytes
            self._peaks[kind] = max(self._peaks.get(kind, 0), self._sum(kind))

    def drop(self, kind: str) -> None:
        """Forget all buffers of a kind: they were freed."""
        with self._lock:
            self._held = {key: nbytes for key, nbytes in self._held.items() if key[0] != kind}

    def held(self, kind: str) -> int:
        """Return the bytes held of a kind."""
        with self._lock:
            return self._sum(kind)

    def peak(self, kind: str) -> int:
        """Return the most bytes of a kind that were held at a time."""
        with self._lock:
            return self._peaks.get(kind, 0)

    def _sum(self, kind: str) -> int:
        return sum(nbytes for key, nbytes in self._held.items() if key[0] == kind)

    def describe(self) -> str:
        """Return one line for people."""
        with self._lock:
            rows = [f"{kind} {name} {nbytes} B" for (kind, name), nbytes in sorted(self._held.items())]
        return f"memory: {', '.join(rows) or 'none held'}"


class MemoryManager:
    """What one solver may take of device and host. Owned by that solver; there is no global one.

    Parameters
    ----------
    limit
        Forced free device memory: bytes, text such as ``"64 KiB"``, or :class:`solver.Chunks`. ``None`` asks
        the device.
    pinned
        Where pinned memory comes from.
    """

    def __init__(self, limit: MemoryLimit = None, pinned: PinnedHost | None = None) -> None:
        self.limit = parse_limit(limit)
        self.pinned: PinnedHost = pinned or OpenHost()
        self.registry = BufferRegistry()

    def plan(self, work: Work, device: Device, sets: int) -> ChunkPlan:
        """Cut a batch by what is free, and into as many chunks more as make it faster.

        Parameters
        ----------
        work
            The batch, of which nothing stays on the device.
        device
            What it is for.
        sets
            Sets of device arrays wanted.
        """
        per_run = -(-(work.bytes_in + work.bytes_out) // work.n_runs)
        wanted = wanted_chunks(device.rates, work.n_runs, work.bytes_in, work.bytes_out)
        return plan_chunks(work.n_runs, per_run, self.free(device), sets, wanted, work.bytes_shared)

    def free(self, device: Device) -> int | Chunks:
        """Return the limit, but never more bytes than the device has."""
        if isinstance(self.limit, Chunks):
            return self.limit
        free = device.free_bytes()
        return free if self.limit is None else min(free, self.limit)
