"""How a batch is cut into chunks when device memory is short. Pure."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

__all__ = ["ChunkPlan", "Chunks", "MemoryLimit", "parse_limit", "plan_chunks"]

_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_AMOUNT = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True)
class Chunks:
    """A memory limit said by its effect: the batch is cut into exactly `count` chunks.

    Limits in bytes have to be measured again whenever an array is added or changes its shape; this does not.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            message = f"a batch is cut into at least 1 chunk, got {self.count}"
            raise ValueError(message)


MemoryLimit = int | str | Chunks | None
"""Bytes, text such as ``"64 KiB"``, a number of chunks, or ``None`` for what the device has free."""


def parse_limit(limit: MemoryLimit) -> int | Chunks | None:
    """Return `limit` with text turned into bytes.

    Raises
    ------
    ValueError
        When text is no amount in B, KiB, MiB or GiB, or the amount is not positive.
    """
    if limit is None or isinstance(limit, Chunks):
        return limit
    if isinstance(limit, str):
        match = _AMOUNT.fullmatch(limit)
        if match is None or match[2] not in _UNITS:
            message = f"memory limit {limit!r} is not an amount such as '64 KiB' (units: B, KiB, MiB, GiB)"
            raise ValueError(message)
        limit = int(match[1]) * _UNITS[match[2]]
    if limit <= 0:
        message = f"a memory limit must be positive, got {limit} bytes"
        raise ValueError(message)
    return limit


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """Where the chunks of a batch start and end, and how many sets of device arrays they take turns in.

    Attributes
    ----------
    bounds
        ``(start, stop)`` of every chunk in order. Sizes differ by at most one run, longer ones first or
        later as they fall: never assume that only the last is shorter. Buffers and copies between host and
        device have the size of the longest, always; only real runs are computed and written back.
    sets
        Sets of device arrays; with two, one chunk is copied while another is computed.
    """

    bounds: tuple[tuple[int, int], ...]
    sets: int

    @property
    def runs(self) -> int:
        """Runs of the longest chunk, for which all buffers are made."""
        return max(stop - start for start, stop in self.bounds)


def _split(n_runs: int, count: int) -> tuple[tuple[int, int], ...]:
    edges = [index * n_runs // count for index in range(count + 1)]
    return tuple(itertools.pairwise(edges))


def plan_chunks(
    n_runs: int, bytes_per_run: int, free: int | Chunks, sets: int, wanted: int = 1, shared: int = 0
) -> ChunkPlan:
    """Cut `n_runs` runs so that what is on the device at a time fits into `free`.

    Parameters
    ----------
    n_runs
        Runs of the batch.
    bytes_per_run
        Device bytes of one run in one set of arrays.
    free
        Free device bytes, or the number of chunks wanted.
    sets
        Sets of device arrays to use once the batch is cut.
    wanted
        Number of chunks that would be best if memory did not matter.
    shared
        Device bytes that all runs share.

    Raises
    ------
    MemoryError
        When not even one run a set fits.
    ValueError
        When more chunks are wanted than there are runs.
    """
    if isinstance(free, Chunks):
        if free.count > n_runs:
            message = f"{n_runs} runs cannot be cut into {free.count} chunks; ask for at most {n_runs}"
            raise ValueError(message)
        return ChunkPlan(_split(n_runs, free.count), min(sets, free.count))
    if wanted == 1 and shared + n_runs * bytes_per_run <= free:
        return ChunkPlan(((0, n_runs),), 1)
    sets = min(sets, n_runs)
    runs = (free - shared) // (sets * bytes_per_run)
    if runs <= 0:
        common = f" and what all runs share {shared}" if shared else ""
        message = (
            f"one run takes {sets} x {bytes_per_run} bytes on the device{common}, but only {free} are free; "
            "save fewer points or raise memory_limit"
        )
        raise MemoryError(message)
    count = max(-(-n_runs // runs), wanted)
    return ChunkPlan(_split(n_runs, count), min(sets, count))
