"""How fast a pipeline can be, and how many chunks are worth having. Pure.

With M equal chunks, four stages h (upload), k (kernel), d (download), w (writeback), and p from the end of a
download until a writer has noticed::

    tau = max(h, k, d, w/W, (h+k)/D, (k+d)/D, (d+p+w)/K)
    T   = (h+k+d+p+w) + (M-1) tau

D sets of device arrays: the inputs of one are taken from the start of an upload to the end of its kernel, the
outputs from the start of the kernel to the end of the download. K pinned buffers, taken from the start of a
download to the end of its writeback. W writers. With D = 2 no set is ever waited for for longer than the
slowest stage takes, so a third would buy nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solver.devices.rates import Rates

__all__ = ["Depth", "Stages", "bound", "period", "wanted_chunks"]


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of each stage of one chunk.

    Attributes
    ----------
    upload, run, download, writeback
        h, k, d and w.
    notice
        p.
    """

    upload: float
    run: float
    download: float
    writeback: float
    notice: float = 0.0

    @property
    def total(self) -> float:
        """What one chunk takes from end to end."""
        return self.upload + self.run + self.download + self.notice + self.writeback

    @property
    def longest(self) -> float:
        """The longest stage."""
        return max(self.upload, self.run, self.download, self.writeback)


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of everything chunks take turns in.

    Attributes
    ----------
    sets
        Sets of device arrays, with a pinned buffer for each input of each set.
    copies
        Pinned buffers for each output.
    writers
        Threads that copy from them to the caller's arrays.
    """

    sets: int = 2
    copies: int = 3
    writers: int = 2

    def __post_init__(self) -> None:
        if min(self.sets, self.copies, self.writers) < 1:
            message = (
                f"sets={self.sets}, copies={self.copies} and writers={self.writers} must all be positive"
            )
            raise ValueError(message)

    def needed(self, chunks: int) -> Depth:
        """Return what so many chunks can make use of."""
        return Depth(min(self.sets, chunks), min(self.copies, chunks), min(self.writers, chunks))


def period(stages: Stages, depth: Depth) -> float:
    """Return tau, the time from one chunk to the next once the pipeline is full."""
    return max(
        stages.upload,
        stages.run,
        stages.download,
        stages.writeback / depth.writers,
        (stages.upload + stages.run) / depth.sets,
        (stages.run + stages.download) / depth.sets,
        (stages.download + stages.notice + stages.writeback) / depth.copies,
    )


def bound(stages: Stages, depth: Depth, chunks: int) -> float:
    """Return T, the shortest time in which so many chunks can come through."""
    return stages.total + (chunks - 1) * period(stages, depth)


def wanted_chunks(rates: Rates, n_runs: int, bytes_in: int, bytes_out: int) -> int:
    """Return how many chunks are best when memory is no matter.

    More of them shorten filling and draining, ``T(M) = A/M + (1 - 1/M) B + M o`` with A the sum of the whole
    batch's stages, B the longest of them and o the overhead, which is least at ``sqrt((A - B) / o)``. What
    the kernel takes is not known beforehand and counts as nothing, which errs towards fewer chunks.

    Parameters
    ----------
    rates
        The machine's.
    n_runs, bytes_in, bytes_out
        Of the whole batch.
    """
    whole = Stages(bytes_in / rates.upload, 0.0, bytes_out / rates.download, bytes_out / rates.writeback)
    best = round(math.sqrt((whole.total - whole.longest) / rates.overhead))
    # Half-empty launches cost as much as full ones; a pinned buffer too large is a host's worry, and wins.
    worth = min(best, n_runs // rates.least_runs)
    return min(max(worth, -(-bytes_out // rates.block_bytes), 1), n_runs)
