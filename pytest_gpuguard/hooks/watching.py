"""The controller's watch over workers whose own monitor cannot run: something in them holds the GIL.

It only reads pages and sends signals; the end of a worker comes to xdist as any other crash.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.lifeline import WATCHER_LATER
from pytest_gpuguard.report.dossier import dossier, dossier_states
from pytest_gpuguard.track.monitor import Monitor
from pytest_gpuguard.track.vitals import read_vital
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.track.vitals import Vital

__all__ = ["watch"]

_DUMPED_WITHIN = 5.0
_ANSWERED_WITHIN = 1.5


def watch(config: pytest.Config, folder: RunFolder, stall_end: float) -> None:
    """Watch the workers of this run until its configuration ends; with ``stall_end`` 0 never end one."""
    if stall_end:
        monitor = Monitor(_Watch(folder, stall_end + WATCHER_LATER).look)
        monitor.start()
        config.add_cleanup(monitor.stop)


class _Watch:
    def __init__(self, folder: RunFolder, limit: float) -> None:
        self._folder, self._limit = folder, limit
        self._doors: dict[str, Callable[[int], None]] = {}
        self._ended: set[str] = set()

    def look(self, now: float) -> float:
        for worker, path in self._folder.vitals():
            vital = read_vital(path)
            if vital is None or worker in self._ended:
                continue
            if worker not in self._doors:
                self._doors[worker] = _door(vital.pid)
            if vital.looked and now - vital.looked > self._limit:
                with contextlib.suppress(OSError):  # it has ended by itself
                    self._end(worker, vital, now - vital.looked)
        return min(1.0, self._limit / 10)

    def _end(self, worker: str, vital: Vital, idle: float) -> None:
        signalled = self._doors[worker]
        self._folder.request_states()
        if vital.signal:
            signalled(vital.signal)
            self._until_written(worker)
        states, silent = self._folder.gather_states(self._folder.requested_at(), "", _ANSWERED_WITHIN)
        headline = f"GPG601: {worker} made no progress for {format_seconds(idle)} and was ended"
        how = "its process was ended from outside, since something in it held the GIL"
        self._folder.write_end(
            worker,
            {
                "text": dossier(headline, states, [], silent),
                "stall": {
                    "phase": vital.phase,
                    "worker": worker,
                    "idle_s": idle,
                    "ended": True,
                    "how": how,
                    "states": dossier_states(states),
                },
            },
        )
        # To be asked for its stacks can have ended its wait.
        now = read_vital(self._folder.vital(worker, "page"))
        if now is not None and now.looked == vital.looked:
            self._ended.add(worker)
            signalled(signal.SIGKILL)

    def _until_written(self, worker: str) -> None:
        """Wait until the file of its stacks has stopped growing: what C writes has no end mark."""
        path, size, end = self._folder.vital(worker, "stacks"), -1, clock.monotonic() + _DUMPED_WITHIN
        while clock.monotonic() < end and (not size or path.stat().st_size != size):
            size = path.stat().st_size
            clock.sleep(0.1)


def _door(pid: int) -> Callable[[int], None]:
    """Return how to signal this process, and no other one that gets its number later."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return lambda number: os.kill(pid, number)
    return lambda number: signal.pidfd_send_signal(fd, number)
