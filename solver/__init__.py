"""A batch ODE solver on numba that chunks, stages through pinned memory and streams.

Importing it does not import numba; opening a solver does.
"""

from __future__ import annotations

from solver.batch_solver import BatchSolver, solve_batch
from solver.bound import Lanes, Rates, Stages
from solver.chunks import Chunks
from solver.errors import (
    DeviceError,
    SolverClosedError,
    SolverError,
    SolverTimeoutError,
    WatcherDiedError,
    WritebackError,
)
from solver.faults import Fault
from solver.memory import BufferRegistry, MemoryManager, OpenHost, PinnedGrant, PinnedHost
from solver.pool import ChunkBufferPool
from solver.problem import Problem
from solver.solution import DeviceResult, Solution, Stats, Status
from solver.watcher import WritebackWatcher

__all__ = [
    "BatchSolver",
    "BufferRegistry",
    "ChunkBufferPool",
    "Chunks",
    "DeviceError",
    "DeviceResult",
    "Fault",
    "Lanes",
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
