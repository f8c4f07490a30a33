"""What a solve took, and how near it came to the least that it could take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from solver.pipeline.bound import bound

if TYPE_CHECKING:
    from solver.pipeline.bound import Depth, Stages

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """What a solve took.

    Attributes
    ----------
    chunks
        Chunks that the batch was cut into.
    chunk_runs
        Runs of the longest.
    depth
        Sets of device arrays, pinned buffers for outputs and writers that they took turns in.
    pinned_bytes, device_bytes
        Most memory of each kind that the solver held at a time, since it was opened.
    stages
        Measured seconds of the average chunk in each stage. A virtual device tells its injected latencies,
        not what the simulator takes.
    pipeline_seconds
        From the first upload to the last chunk at home.
    steps, rejected
        Steps of all runs together, and attempts at one that were not good enough.
    seconds
        The whole call.
    """

    chunks: int
    chunk_runs: int
    depth: Depth
    pinned_bytes: int
    device_bytes: int
    stages: Stages
    pipeline_seconds: float
    steps: int = 0
    rejected: int = 0
    seconds: float = 0.0

    @property
    def bound_seconds(self) -> float:
        """The least that chunks with these stages can take; see :mod:`solver.pipeline.bound`."""
        return bound(self.stages, self.depth, self.chunks)

    @property
    def overlap(self) -> float:
        """Which part of what can be had was had: 1 when nothing ever waited for the wrong thing."""
        return self.bound_seconds / self.pipeline_seconds if self.pipeline_seconds else 1.0
