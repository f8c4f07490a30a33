"""A batch ODE solver on numba that chunks, stages through pinned memory and streams.

Importing it does not import numba; opening a solver does.
"""

from __future__ import annotations

from solver.batch_solver import BatchSolver, Solution, Stats, Status, solve_batch
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
from solver.watcher import WritebackWatcher

__all__ = [
    "BatchSolver",
    "BufferRegistry",
    "ChunkBufferPool",
    "Chunks",
    "DeviceError",
    "Fault",
    "MemoryManager",
    "OpenHost",
    "PinnedGrant",
    "PinnedHost",
    "Problem",
    "Solution",
    "SolverClosedError",
    "SolverError",
    "SolverTimeoutError",
    "Stats",
    "Status",
    "WatcherDiedError",
    "WritebackError",
    "WritebackWatcher",
    "solve_batch",
]
