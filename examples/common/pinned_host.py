"""A host with little pinned memory, shared by all processes of a test run."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["SmallPinnedHost", "folder_of_run"]

_PAUSE = 0.005


def folder_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of one test run share, and no other run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


class _Regions:
    """Regions held; the kernel takes them back when the process dies."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def release(self) -> None:
        """Give them back."""
        while self._descriptors:
            os.close(self._descriptors.pop())


class SmallPinnedHost:
    """Pinned memory in a few regions: one locked file each, so that a ceiling holds across processes.

    Parameters
    ----------
    folder
        Where the files are; processes with the same folder share one host.
    regions, region_bytes
        How much there is.
    """

    def __init__(self, folder: Path, regions: int = 4, region_bytes: int = 2048) -> None:
        folder.mkdir(exist_ok=True)
        self._files = [folder / f"region-{number}" for number in range(regions)]
        self._region_bytes = region_bytes

    def reserve(self, nbytes: int, timeout: float | None) -> _Regions:
        """Poll until enough regions are free at the same time; by default for ever, as drivers' users do."""
        wanted = -(-nbytes // self._region_bytes)
        if wanted > len(self._files):
            message = f"{nbytes} bytes are more than this host can ever pin"
            raise MemoryError(message)
        deadline = None if timeout is None else time.monotonic() + timeout
        while (regions := self._try(wanted)) is None:
            if deadline is not None and time.monotonic() > deadline:
                message = f"{wanted} of {len(self._files)} regions did not become free within {timeout} s"
                raise TimeoutError(message)
            time.sleep(_PAUSE)
        return regions

    def free(self) -> int:
        """Return how many regions nobody holds at the moment."""
        for count in range(len(self._files), 0, -1):
            if (regions := self._try(count)) is not None:
                regions.release()
                return count
        return 0

    def _try(self, wanted: int) -> _Regions | None:
        held: list[int] = []
        for path in self._files:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            held.append(descriptor)
            if len(held) == wanted:
                return _Regions(held)
        # All or nothing: keeping a part while waiting for the rest is how two processes lock each other up.
        _Regions(held).release()
        return None
