"""A device whose time is played: kernels run in numba's simulator, and everything happens when it is due.

The simulator does each thing at once and has no events, so code that reads a buffer too early, or
overwrites one too early, passes in it by luck and fails on hardware. Here an operation takes effect only when
its virtual time has come: a buffer that is being filled holds NaN until then, and one that is being read is
read at the very end.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.devices.clock import SystemClock
from solver.devices.rates import Rates
from solver.errors import DeviceError, without_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from solver.devices.clock import Clock
    from solver.devices.device import CompiledKernel, DeviceArray, Event, StreamName

__all__ = ["SIMULATOR", "Latency", "VirtualDevice", "VirtualEvent", "poison"]

SIMULATOR = threading.Lock()
"""Held around a launch: the simulator runs one kernel a process, answers a second one with a wrong result,
and keeps the launch configuration on the shared kernel object."""

_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one operation takes on the virtual device, in seconds, whatever its size."""

    upload: float = 2e-4
    run: float = 2e-4
    download: float = 2e-4
    writeback: float = 0.0


def poison(array: DeviceArray) -> None:
    """Fill with what no result ever is: NaN, or the smallest integer."""
    kind = np.dtype(array.dtype)
    array[...] = np.nan if kind.kind == "f" else np.iinfo(kind).min


class VirtualEvent:
    """A point in virtual time."""

    def __init__(self, device: VirtualDevice, due: float) -> None:
        self.due = due
        self._device = device

    def query(self) -> bool:
        """Whether its time has come; everything that is due by now then happens first."""
        now = self._device.advance()
        return now >= self.due

    def wait(self, timeout: float) -> bool:
        """Sleep until it is due, but no longer than `timeout`."""
        clock = self._device.clock
        left = timeout if self._device.held else self.due - clock.now()
        if left > 0:
            clock.sleep(min(left, timeout))
        return self.query()

    def __repr__(self) -> str:
        return f"event due in {self.due - self._device.clock.now():.4f} s"


class VirtualDevice:
    """Device with injected latency; streams and copy engines keep their own virtual time.

    Operations are only queued. They take effect, in the order of their ends, when some event is asked for
    after they are due: with a clock that stands still nothing ever happens.

    Parameters
    ----------
    latency
        What an operation takes.
    clock
        Where time comes from.
    total_bytes
        Size of the device's memory.
    rates
        What a solver should take it to be capable of.

    Attributes
    ----------
    held
        While true nothing happens on it, as on a device that hangs.
    """

    mode = "sim"

    def __init__(
        self,
        latency: Latency | None = None,
        clock: Clock | None = None,
        total_bytes: int = 1 << 30,
        rates: Rates | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.rates = rates or Rates()
        self.held = False
        self._cuda = importlib.import_module("numba.cuda")
        self._latency = latency or Latency()
        self._total_bytes = total_bytes
        self._ends: dict[StreamName, float] = {"in": 0.0, "run": 0.0, "out": 0.0}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._error: BaseException | None = None
        self._queueing = threading.Lock()
        self._running = threading.Lock()

    def free_bytes(self) -> int:
        """Return all memory: arrays of earlier solves are not subtracted."""
        return self._total_bytes

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Return a poisoned array of the simulator."""
        array = self._cuda.device_array(shape, dtype)
        poison(array)
        return array

    def constant(self, array: NDArray[Any]) -> DeviceArray:
        """Copy at once."""
        return self._cuda.to_device(array)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a poisoned array, by numba's name for page-locked ones."""
        array: NDArray[Any] = self._cuda.pinned_array(shape, dtype)
        poison(array)
        return array

    def discard(self, pinned: NDArray[Any]) -> None:
        """Poison, so that a late reader cannot miss that it is late."""
        poison(pinned)

    def upload(self, pinned: NDArray[Any], array: DeviceArray) -> None:
        """Read `pinned` only when the copy ends: whoever overwrites it before is found out."""
        self._queue("in", self._latency.upload, lambda: array.copy_to_device(pinned))

    def launch(self, kernel: CompiledKernel, n_threads: int, arguments: tuple[Any, ...]) -> None:
        """Run the kernel in the simulator when it is due."""
        block = min(n_threads, _BLOCK)

        def run() -> None:
            with SIMULATOR:
                kernel[-(-n_threads // block), block](*arguments)

        self._queue("run", self._latency.run, run)

    def download(self, array: DeviceArray, pinned: NDArray[Any]) -> None:
        """Poison `pinned` now and fill it when the copy ends."""
        poison(pinned)
        self._queue("out", self._latency.download, lambda: array.copy_to_host(pinned))

    def write_back(self, pinned: NDArray[Any], target: NDArray[Any]) -> None:
        """Take as long as was asked for, then copy what is there at the end."""
        if self._latency.writeback:
            self.clock.sleep(self._latency.writeback)
        np.copyto(target, pinned)

    def record(self, stream: StreamName) -> VirtualEvent:
        """Return an event at the end of what was queued in the stream."""
        with self._queueing:
            return VirtualEvent(self, max(self._ends[stream], self.clock.now()))

    def elapsed(self, begin: Event, end: Event) -> float:
        """Subtract."""
        if not (isinstance(begin, VirtualEvent) and isinstance(end, VirtualEvent)):
            message = f"no time between {begin!r} and {end!r}; use events that this device recorded"
            raise TypeError(message)
        return end.due - begin.due

    def after(self, stream: StreamName, event: Event) -> None:
        """Move the stream's time to the event's."""
        if not isinstance(event, VirtualEvent):
            message = f"a virtual stream cannot wait for {event!r}; use events that this device recorded"
            raise TypeError(message)
        with self._queueing:
            self._ends[stream] = max(self._ends[stream], event.due)

    def drained(self) -> bool:
        """Whether nothing is queued any more, or nothing will ever happen again."""
        with suppress(DeviceError):
            self.advance()
        with self._queueing:
            return self._error is not None or not self._due

    def trim(self) -> None:
        """Do nothing: the simulator's arrays are gone when they are dropped."""

    def _queue(self, stream: StreamName, seconds: float, effect: Callable[[], None]) -> None:
        with self._queueing:
            end = max(self._ends[stream], self.clock.now()) + seconds
            self._ends[stream] = end
            if self._error is None:
                heapq.heappush(self._due, (end, next(self._order), effect))

    def advance(self) -> float:
        """Let everything happen that is due, and return the time up to which it has.

        Raises
        ------
        DeviceError
            When an operation failed, now or earlier.
        """
        # One thread at a time: an effect may only start when all earlier ones have ended.
        with self._running:
            now = -math.inf if self.held else self.clock.now()
            while self._error is None and (effect := self._next_due(now)) is not None:
                try:
                    effect()
                except Exception as error:  # noqa: BLE001 - kept, and raised to everyone who asks from now on
                    self._fail(error)
            if self._error is not None:
                message = f"the device failed: {self._error!r}; close this solver and open another"
                raise DeviceError(message) from self._error
            return now

    def _fail(self, error: Exception) -> None:
        """Keep an error for ever, but nothing with it: what is queued holds buffers."""
        with self._queueing:
            self._error = without_frames(error)
            self._due.clear()

    def _next_due(self, now: float) -> Callable[[], None] | None:
        with self._queueing:
            return heapq.heappop(self._due)[2] if self._due and self._due[0][0] <= now else None
