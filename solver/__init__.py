"""A batch ODE solver on numba that chunks, stages through pinned memory and streams.

Importing it does not import numba; opening a solver does.
"""

from __future__ import annotations

from solver.batch_solver import BatchSolver
from solver.devices.cpu import HostDevice
from solver.devices.rates import Rates
from solver.errors import (
    DeviceError,
    SolverClosedError,
    SolverError,
    SolverTimeoutError,
    WatcherDiedError,
    WritebackError,
)
from solver.numerics.drivers import Drivers
from solver.numerics.recipe import Event
from solver.numerics.status import Status
from solver.one_call import solve_batch
from solver.pipeline.bound import Depth, Stages
from solver.pipeline.chunks import Chunks
from solver.pipeline.faults import Fault
from solver.pipeline.memory import BufferRegistry, MemoryManager, OpenHost, PinnedGrant, PinnedHost
from solver.pipeline.pool import ChunkBufferPool
from solver.pipeline.stats import Stats
from solver.pipeline.watcher import WritebackWatcher
from solver.problem import Problem
from solver.solution import DeviceResult, Solution

__all__ = [
    "BatchSolver",
    "BufferRegistry",
    "ChunkBufferPool",
    "Chunks",
    "Depth",
    "DeviceError",
    "DeviceResult",
    "Drivers",
    "Event",
    "Fault",
    "HostDevice",
    "MemoryManager",
    "OpenHost",
    "PinnedGrant",
    "PinnedHost",
    "Problem",
    "Rates",
    "Solution",
    "SolverClosedError",
    "SolverError",
    "SolverTimeoutError",
    "Stages",
    "Stats",
    "Status",
    "WatcherDiedError",
    "WritebackError",
    "WritebackWatcher",
    "solve_batch",
]
