"""Memory that runs out: the first time in a run who held what is written down; whatever follows is folded in.

One event can fail a hundred tests, each with the same message and none with the reason.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_gpuguard import clock
from pytest_gpuguard.budget.wording import amount_text, amounts_text, is_device, person_text
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.track.procfs import slurp
from pytest_gpuguard.track.words import said, sound
from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

    from pytest_gpuguard.hooks.desk import Desk
    from pytest_gpuguard.hooks.dossier import Dossier
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.report.shortage import Occupied

__all__ = ["Shortages"]

_CODES = {"device": "GPG404", "pinned": "GPG405"}
_WORDS = {"device": "device memory", "pinned": "page-locked memory"}
_MOST_HOLDERS = 10


class Shortages:
    """Looks at each phase that failed in one process.

    Parameters
    ----------
    folder, worker, started, dossier
        As of the guard.
    """

    def __init__(self, folder: RunFolder | None, worker: str, started: float, dossier: Dossier) -> None:
        self._folder, self._worker, self._started, self._dossier = folder, worker, started, dossier
        self._told: dict[str, str] = {}
        self._faults: list[dict[str, Any]] = []
        #: Knows the devices and the budget.
        self.desk: Desk | None = None

    def take(self) -> list[dict[str, Any]]:
        """Return the faults since the last time, as the record has them."""
        taken, self._faults = self._faults, []
        return taken

    def look(self, report: pytest.TestReport, error: BaseException) -> None:
        """See whether a phase failed for want of memory, and say in its report who had it."""
        if not report.failed:
            return
        from pytest_gpuguard.devices.shortage import ran_out

        memory = ran_out(error)
        if memory is None or any(fault["nodeid"] == report.nodeid for fault in self._faults):
            return
        code, at = _CODES[memory], clock.monotonic() - self._started
        headline = (
            f"{code}: {_WORDS[memory]} ran out in {report.nodeid}, in its {report.when}, on {self._worker}"
        )
        state, text = "", ""
        try:
            if self._folder is None or self._folder.claim(f"oom-{memory}"):
                text = self._written(headline, said(error))
                state = self._kept(text)
        except Exception as problem:  # noqa: BLE001 - whatever fails here must not take the test's own error with it
            text = f"{headline}\nwho held it could not be found out: {said(problem)}"
        shown: Any = report.longrepr
        if hasattr(shown, "addsection"):
            again = f"{headline}\nwho held what is told where it first ran out, see {code} below"
            shown.addsection("gpuguard: out of memory", text or again)
        self._faults.append(
            {
                "kind": "oom",
                "code": code,
                "worker": self._worker,
                "nodeid": report.nodeid,
                "error": said(error),
                "at": at,
                "state": state,
            }
        )

    def _written(self, headline: str, error: str) -> str:
        from pytest_gpuguard.report.shortage import shortage

        states, silent = self._dossier.survey()
        workers = {state["pid"]: state["worker"] for state in states}
        devices, budget = list(self._devices(workers)), list(self._budget())
        return shortage(headline, error, devices, _host(), budget, states, silent)

    def _kept(self, text: str) -> str:
        if self._folder is None:
            return ""
        path = self._folder.write_stacks(self._worker, os.getpid(), f"{text}\n\n")
        return f"stacks/{path.name}"

    def _devices(self, workers: Mapping[int, str]) -> Iterator[Occupied]:
        if self.desk is None or not self.desk.host.real:
            return
        from pytest_gpuguard.devices.occupants import occupancy
        from pytest_gpuguard.report.shortage import Occupied

        for device in self.desk.host.described.values():
            name, uuid = str(device["name"]), str(device["uuid"])
            found = occupancy(uuid)
            if isinstance(found, str):
                yield Occupied(name, uuid, unknown=found)
            else:
                users = [(pid, workers.get(pid) or _process(pid), size) for pid, size in found.users]
                yield Occupied(name, uuid, found.free, found.total, users)

    def _budget(self) -> Iterator[str]:
        try:
            snapshot = self.desk.snapshot() if self.desk is not None else None
        except (GuardError, OSError) as error:
            yield f"not known: {error}"
            return
        if snapshot is None:
            yield "nothing was claimed in this process"
            return
        for name, limit in snapshot.limits.items():
            if name == "pinned" or is_device(name):
                claimed = amount_text(name, limit - snapshot.free.get(name, limit))
                yield f"{name}: {claimed} of {amount_text(name, limit)} claimed"
        for holder in snapshot.holders[:_MOST_HOLDERS]:
            yield f"  {person_text(holder.person)}: {amounts_text(holder.amounts)}"


def _process(pid: int) -> str:
    import psutil

    try:
        return sound(psutil.Process(pid).name())
    except psutil.Error:
        return "another process"


def _host() -> str:
    """Return what the kernel says of the host's memory."""
    found = dict(line.split(":", 1) for line in slurp("/proc/meminfo").splitlines() if ":" in line)
    amounts = {name: int(text.split()[0]) * 1024 for name, text in found.items() if text.split()}
    if "MemAvailable" not in amounts:
        return "its memory is not known"
    rest = "".join(
        f", {format_bytes(amounts[name])} {name}"
        for name in ("Unevictable", "Mlocked", "Shmem")
        if name in amounts
    )
    return f"{format_bytes(amounts['MemAvailable'])} of {format_bytes(amounts['MemTotal'])} available{rest}"
