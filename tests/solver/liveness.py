"""Pipelines by chance: sizes, latencies, a fault and an end, all from one number."""

from __future__ import annotations

import random
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from solver import (
    Depth,
    DeviceError,
    SolverClosedError,
    SolverError,
    SolverTimeoutError,
    WritebackError,
)
from solver.devices.clock import SystemClock
from solver.devices.rehearsal import RehearsalClock
from solver.devices.virtual import Latency, VirtualDevice
from tests.solver.pipelines import double, doubling, expected, make_kernel

__all__ = ["FAULTS", "Case", "run_case"]

UNIT = 2.0**-10
RIGHT = "the right result"

FAULTS: dict[str, tuple[object, ...]] = {
    "none": (RIGHT,),
    "slow event": (RIGHT,),
    "device error": (DeviceError, WritebackError),
    "writer error": (WritebackError,),
    "device hangs": (SolverTimeoutError,),
    "no pinned memory": (SolverTimeoutError,),
    "interrupt": (KeyboardInterrupt,),
    # Whoever closes may come before, in the middle and after.
    "pool closed": (SolverClosedError, RIGHT),
    "solver closed": (SolverClosedError, RIGHT),
}
"""What goes wrong, and which ends are right."""


@dataclass(frozen=True)
class Case:
    """One pipeline.

    Attributes
    ----------
    seed
        What all the rest comes from.
    real
        Whether in real time, or rehearsed.
    """

    seed: int
    real: bool

    def __post_init__(self):
        chance = random.Random(self.seed)
        fields = {
            "fault": chance.choice(list(FAULTS)),
            "chunks": chance.randint(1, 8),
            "runs": chance.randint(0, 7),
            "depth": Depth(chance.randint(1, 4), chance.randint(1, 4), chance.randint(1, 4)),
            "latency": Latency(*(UNIT * chance.choice([0, 0, 1, 2, 3, 20]) for _ in range(4))),
            "when": chance.randint(0, 12) * UNIT,
            "where": chance.random(),
            "dropped": chance.random() < 0.5,
            "again": chance.random() < 0.5,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def chunk(self) -> int:
        """Return the chunk at which the fault strikes."""
        return int(self.where * self.chunks)


class Host:
    """Pinned memory that counts, may have none, and looks whether it gets it back too early."""

    def __init__(self, device):
        self.device = device
        self.granted = self.early = 0
        self.full = False

    def reserve(self, nbytes, timeout):
        """Grant, unless full."""
        if self.full:
            message = f"none within {timeout} s"
            raise TimeoutError(message)
        self.granted += 1
        return self

    def release(self):
        """Count; memory that the device still works on is freed only when that hangs."""
        self.granted -= 1
        self.early += not (self.device.held or self.device.drained())


class WatchedDevice(VirtualDevice):
    """Remembers what it gave away, and misbehaves at one chunk."""

    def __init__(self, case, clock):
        super().__init__(case.latency, clock)
        self.case = case
        self.buffers = []
        self.events = weakref.WeakSet()
        # The simulator does everything at once; but streams can be forgotten, as on a device.
        self.streams = [self._cuda.stream() for _ in self._ends]
        self.launches = self.written = 0
        self.faulty = True

    def pinned(self, shape, dtype):
        """Remember."""
        array = super().pinned(shape, dtype)
        self.buffers.append(weakref.ref(array))
        return array

    def record(self, lane):
        """Remember, and let it be an event of the simulator, too: whoever counts those counts it."""
        event = super().record(lane)
        event.simulated = self._cuda.event()
        self.events.add(event)
        return event

    def strikes(self, fault, chunk):
        """Tell whether it is time for a fault."""
        return self.faulty and self.case.fault == fault and chunk == self.case.chunk

    def launch(self, kernel, n_threads, arguments):
        """Hang, slow down or queue a kernel that fails."""
        if self.strikes("device hangs", self.launches):
            self.held = True
        if self.strikes("slow event", self.launches):
            self._queue("run", 0.05, lambda: None)
        if self.strikes("device error", self.launches):
            self._queue("run", 0.0, self.fail)
        self.launches += 1
        super().launch(kernel, n_threads, arguments)

    def fail(self):
        """Fail."""
        message = "planted"
        raise FloatingPointError(message)

    def write_back(self, pinned, target):
        """Fail, or copy."""
        self.written += 1
        if self.strikes("writer error", self.written - 1):
            message = "disk full"
            raise OSError(message)
        super().write_back(pinned, target)

    def left(self) -> str:
        """Return what is still alive of what it gave away."""
        buffers = sum(ref() is not None for ref in self.buffers)
        return f"{buffers} buffers, {len(self.events)} events" if buffers or self.events else ""


def threads_of(case, clock) -> list[str]:
    if not case.real:
        return clock.alive()
    return [thread.name for thread in threading.enumerate() if "(double)" in thread.name]


def run_case(case: Case) -> object:
    """Run a case; return how it ended: with :data:`RIGHT` or a type of error.

    Raises
    ------
    AssertionError
        When that was wrong, or anything was left.
    """
    clock = SystemClock() if case.real else RehearsalClock(case.seed)
    try:
        return _run_case(case, clock)
    finally:
        if not case.real:
            clock.end()


def _run_case(case, clock) -> object:
    device = WatchedDevice(case, clock)
    host = Host(device)
    host.full = case.fault == "no pinned memory"
    # So short that a hanging device does not cost a second; in real time longer than this machine's hiccups.
    patience = 0.3 if case.fault == "device hangs" or not case.real else 10.0
    kernel = make_kernel(device, case.chunks, case.depth, patience, host)
    watcher = weakref.ref(kernel.watcher)
    ended = _solve(case, kernel, clock)
    assert ended in FAULTS[case.fault], f"{case} ended with {ended}"
    host.full = device.faulty = False
    device.held = device.held and case.dropped
    if case.again and not device.held and case.fault in {"none", "slow event", "writer error", "interrupt"}:
        assert _solve(case, kernel, clock, quiet=True) == RIGHT, f"{case}: the next solve failed"
    if not case.dropped:
        kernel.close(10.0)
        assert not threads_of(case, clock), f"{case}: closed, but there is {threads_of(case, clock)}"
        assert "memory: none held" in kernel.describe(), f"{case}: {kernel.describe()}"
    del kernel
    _assert_nothing_left(case, clock, device, host, watcher)
    return ended


def _solve(case, kernel, clock, *, quiet=False) -> object:
    n_runs = case.chunks + case.runs
    work = doubling(n_runs, double)

    def progress(done, total):
        if case.fault == "interrupt" and not quiet and done >= case.chunk:
            raise KeyboardInterrupt

    helper = None
    closes = {"pool closed": kernel.pool.close, "solver closed": kernel.close}.get(case.fault)
    if closes is not None and not quiet:
        helper = clock.start(_close_later, (closes, case.when, clock), "closer (double)")
    del closes
    try:
        kernel.run(work, progress)
    except (SolverError, KeyboardInterrupt) as error:
        return type(error)
    finally:
        _join(helper, case, clock)
    if not np.array_equal(work.outputs["y"], expected(n_runs)):
        return f"a wrong result: {work.outputs['y']}"
    return RIGHT


def _close_later(close, when, clock):
    clock.sleep(when)
    # A pool cannot have back what a solve keeps that goes on.
    with suppress(SolverTimeoutError):
        close(2.0)


def _join(helper, case, clock):
    if helper is None:
        return
    if case.real:
        helper.join(10.0)
        assert not helper.is_alive(), f"{case}: close() does not end"
        return
    for _ in range(100):
        if helper.name not in clock.alive():
            return
        clock.sleep(0.1)
    raise AssertionError(f"{case}: close() does not end")


def _assert_nothing_left(case, clock, device, host, watcher):
    for _ in range(500 if case.real else 20):
        left = threads_of(case, clock)
        if not left:
            # It has been given up; what it would still write to is its own.
            device.held = False
            device.drained()
            left = [device.left()] if device.left() else []
        left += [f"{host.granted} grants of pinned memory"] if host.granted else []
        left += ["the watcher"] if watcher() is not None else []
        if not left:
            break
        clock.sleep(0.01 if case.real else 0.5)
    assert not left, f"{case} left {left}"
    assert not host.early, f"{case} freed memory that the device still worked on"
