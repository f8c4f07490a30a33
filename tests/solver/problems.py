"""Problems with closed forms, and devices for tests."""

from __future__ import annotations

import os
import threading
import time

import numpy as np

from solver import BatchSolver, Problem
from solver.devices.clock import SystemClock
from solver.devices.virtual import VirtualDevice

__all__ = [
    "DECAY",
    "RATES",
    "STARTS",
    "FakeClock",
    "OneRegionHost",
    "decay_solver",
    "device_backend",
    "eventually",
    "hanging_device",
    "solve_decay",
    "writeback_threads",
]

RATES = np.linspace(0.25, 2.0, 8)
STARTS = np.tile((1.0, 0.0), (8, 1))


def decay(t, y, p):
    return (-p[0] * y[0], p[0] * y[0])


DECAY = Problem(decay, n_states=2, n_params=1)


def decay_solver(**options) -> BatchSolver:
    given = {"method": "rk4", "backend": device_backend(), "patience": 10.0}
    return BatchSolver(DECAY, **{**given, **options})


def device_backend() -> str:
    """Return the backend with a pipeline: of this process, not of this machine."""
    return "sim" if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else "cuda"


def hanging_device() -> VirtualDevice:
    device = VirtualDevice()
    device.held = True
    return device


def solve_decay(solver, saveat=None, **options):
    return solver.solve(STARTS, RATES[:, None], (0.0, 1.0), dt=0.25, saveat=saveat, **options)


def writeback_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("writeback-")]


def eventually(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class FakeClock(SystemClock):
    """Time that goes by only when told to."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        """Return the time set last."""
        return self.time


class OneRegionHost:
    """A host with pinned memory for one solver at a time."""

    def __init__(self):
        self.held = threading.Semaphore(1)
        self.asked = []

    def reserve(self, nbytes, timeout):
        """Wait for the region, which is its own grant."""
        self.asked.append((nbytes, timeout))
        if not self.held.acquire(timeout=timeout):
            message = f"one region, held by another, not free within {timeout} s"
            raise TimeoutError(message)
        return self

    def release(self):
        """Free the region."""
        self.held.release()

    def is_free(self):
        """Tell whether nobody holds the region."""
        if free := self.held.acquire(blocking=False):
            self.held.release()
        return free
