"""What is said of a worker that died: once, with its last words, whoever ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.sticky import LEAVING
from pytest_gpuguard.track.vitals import read_vital

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.track.vitals import Vital

__all__ = ["Crashes"]

_MOST_STACKS = 20_000
_SILENT = "it left no stacks: killed from outside (such as for want of memory), or ended by os._exit"
_INTERRUPTED = "it was interrupted: by SIGINT, or a test raised KeyboardInterrupt or called pytest.exit"


class Crashes(Plug):
    """Completes xdist's reports of crashes.

    Parameters
    ----------
    config, folder
        The run.
    started
        The run's start in monotonic seconds.
    add
        Takes facts for the record, as a payload.
    died
        Takes the name of a worker, its pid, how it ended, and the file with its stacks.
    """

    def __init__(
        self,
        config: pytest.Config,
        folder: RunFolder,
        started: float,
        add: Callable[[dict[str, Any]], object],
        died: Callable[[str, int, str, str], None],
    ) -> None:
        self._config, self._folder, self._started, self._add, self._died = config, folder, started, add, died
        self._begun: dict[str, tuple[float, tuple[str, int | None, str]]] = {}
        self._called: set[str] = set()
        self._leaving: dict[str, str] = {}
        # Of workers that end by themselves xdist tells so, and takes the test in which they did for a crash.
        self._silent: dict[str, str] = {}
        self._failures = 0

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._begun[nodeid] = clock.monotonic(), location
        self._called.discard(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._begun.pop(nodeid, None)
        self._called.discard(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failures += report.failed
        if report.when == "call":
            self._called.add(report.nodeid)
        if report.user_properties and any(name == LEAVING for name, _ in report.user_properties):
            self._leaving[report.nodeid] = report.node.gateway.id

    # Last, after who takes a death for a crash.
    @pytest.hookimpl(trylast=True, optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error == "keyboard-interrupt":
            self._silent[node.gateway.id] = _INTERRUPTED
        if error is not None and node.gateway.id in self._leaving.values():
            vital = read_vital(self._folder.vital(node.gateway.id, "page"))
            self._died(node.gateway.id, vital.pid if vital else 0, "killed", "")

    # A wrapper: the first implementation that answers, such as of a plugin that reruns, hides all others.
    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_handlecrashitem(
        self, crashitem: str, report: Any, sched: Any
    ) -> Generator[None, object, object]:
        if crashitem in self._leaving:
            # Its failure was reported before its worker left.
            report.outcome, report.when, report.longrepr = "passed", "teardown", None
        else:
            self._complete(crashitem, report)
            if not getattr(sched, "counts_crashes", False):
                self._stop_after(self._config.getoption("maxfail", 0))
        return (yield)

    def _complete(self, crashitem: str, report: Any) -> None:
        worker = report.node.gateway.id
        vital = read_vital(self._folder.vital(worker, "page"))
        why = self._folder.end_of(worker)
        stacks = why.get("stacks") or self._stacks(worker)
        silent = self._silent.get(worker, _SILENT)
        shown = why.get("stall", {}).get("stacks", "")
        if stacks and not shown:
            shown = self._keep(worker, vital, stacks)
        # xdist's own line is kept, since people and tools know it.
        text = why.get("text") or f"{report.longrepr}\n{_told(worker, vital, crashitem)}"
        report.longrepr = "\n".join([text, "", stacks[:_MOST_STACKS] or silent])
        begun, location = self._begun.pop(crashitem, (None, report.location))
        report.location = location
        report.duration = clock.monotonic() - begun if begun is not None else 0.0
        # What has passed its call and dies afterwards is an error, as it would be without workers.
        report.when = "teardown" if crashitem in self._called else "call"
        error = next((line for line in stacks.splitlines() if line.strip()), silent)
        self._record(crashitem, worker, vital, why, shown, error)

    def _stacks(self, worker: str) -> str:
        try:
            return self._folder.vital(worker, "stacks").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _keep(self, worker: str, vital: Vital | None, stacks: str) -> str:
        try:
            path = self._folder.write_stacks(worker, vital.pid if vital else 0, stacks)
        except OSError:
            return ""
        return f"stacks/{path.name}"

    def _record(
        self,
        crashitem: str,
        worker: str,
        vital: Vital | None,
        why: dict[str, Any],
        shown: str,
        error: str,
    ) -> None:
        self._folder.forget_state(worker)
        self._died(worker, vital.pid if vital else 0, "killed" if why else "crashed", shown)
        at = clock.monotonic() - self._started
        if why:
            stall = {"at": at, **why["stall"], "nodeid": crashitem, "stacks": shown}
            self._add({"stalls": [stall], "deaths": why.get("deaths", [])})
            return
        fault = {"kind": "crash", "code": "GPG602", "worker": worker, "nodeid": crashitem, "error": error}
        self._add({"faults": [fault | {"at": at, "state": shown}]})

    def _stop_after(self, most: int) -> None:
        # xdist counts the failures that workers report: a crash is none of them.
        session: Any = self._config.pluginmanager.get_plugin("dsession")
        if most and self._failures + 1 >= most and not getattr(session, "shouldstop", True):
            session.shouldstop = f"stopping after {self._failures + 1} failures"


def _told(worker: str, vital: Vital | None, crashitem: str) -> str:
    phase = f" in its {vital.phase}" if vital and vital.phase else ""
    pid = f" (pid {vital.pid})" if vital else ""
    lines = [f"GPG602: worker {worker}{pid} died while it ran {crashitem}{phase}"]
    if vital is not None:
        lines += [f"  {lease}" for lease in vital.leases.splitlines()]
        lines += [f"  last allocation: {vital.last}"] if vital.last else []
    return "\n".join(lines)
