"""What a machine is taken to be capable of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rates"]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine is taken to be capable of, to choose a number of chunks before anything was measured.

    Attributes
    ----------
    upload, download
        Bytes per second over the bus; PCIe 4 by default.
    writeback
        Bytes per second of one thread that copies into warm memory.
    overhead
        Seconds that one more chunk costs: launches, events, a thread that wakes.
    least_runs
        Runs that a chunk needs to keep the whole device busy.
    block_bytes
        Largest pinned buffer wanted for one output: beyond it, more does not make a copy faster.
    """

    upload: float = 25e9
    download: float = 25e9
    writeback: float = 16e9
    overhead: float = 1e-4
    least_runs: int = 1
    block_bytes: int = 64 << 20
