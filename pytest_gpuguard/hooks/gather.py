"""The role of the process that sums up: xdist's controller, or the only one."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.exports import views, workflow_commands, write_step_summary
from pytest_gpuguard.hooks.known import Known
from pytest_gpuguard.hooks.leaving import see_to_the_end
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.settings import only_shows
from pytest_gpuguard.hooks.sizing import SIZED
from pytest_gpuguard.hooks.surroundings import ci_of, versions
from pytest_gpuguard.hooks.verdict import ATTRIBUTE
from pytest_gpuguard.report.baseline import apply
from pytest_gpuguard.report.build import Gathered, build, encode, group, happened
from pytest_gpuguard.report.gathered import HERE
from pytest_gpuguard.report.journal import Journal
from pytest_gpuguard.report.lines import wrapped
from pytest_gpuguard.report.model import Run, RunReport, Setting, Worker
from pytest_gpuguard.report.places import CONTROLLER, JOURNALS
from pytest_gpuguard.report.reading import read_report
from pytest_gpuguard.report.text import Line, closing_lines, section_lines
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from pathlib import Path

    from pytest_gpuguard.hooks.guard import Guard
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.report.gathered import Columns
    from pytest_gpuguard.report.model import TestSpan

__all__ = ["Gather", "Reports"]

_MARKUP: dict[str, dict[str, bool]] = {
    "": {},
    "bad": {"red": True, "bold": True},
    "warn": {"yellow": True},
    "good": {"green": True},
    "strong": {"bold": True},
    "dim": {"light": True},
}


class Reports(Plug):
    """Hands on what workers report; where tests run in this process, they are heard of without."""

    def __init__(self, *takers: Callable[[pytest.TestReport], None]) -> None:
        self._takers = takers

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for take in self._takers:
            take(report)


class _Status(Plug):
    """Shows the letter of a leak; there once there is a leak."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        leaks = getattr(report, ATTRIBUTE, {}).get("leaks", ())
        # Only its own leaks, only after a passed teardown: the category decides where a report is listed.
        if report.passed and any(
            leak["judged_node"] == report.nodeid and not leak.get("known") for leak in leaks
        ):
            return "leaked", "L", ("LEAKED", {"yellow": True})
        return None


class Gather(Plug):
    """Collects what the processes send, writes the record and prints the section.

    Parameters
    ----------
    config, settings, folder
        The run.
    run
        Its id.
    guard
        The other role, when tests run in this process too.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, folder: RunFolder, run: str, guard: Guard | None
    ) -> None:
        self._config, self._settings, self._folder, self._run, self._guard = (
            config,
            settings,
            folder,
            run,
            guard,
        )
        self._began, self.started = datetime.now(UTC), clock.monotonic()
        self._epoch = self._began.timestamp()
        self._gathered = Gathered()
        self._wide_leaks = 0
        self._leaked = False
        #: What people should know of the run as a whole.
        self.notes: list[str] = []
        #: Tell, given the modes of all processes, why the run fails though no test does.
        self.requirements: list[Callable[[set[str]], list[str]]] = []
        self._report: RunReport | None = None
        self._unwritten: OSError | None = None
        self._leaving: str | None = None
        self._known = Known(settings.baseline)
        if self._known.note:
            self.add({"notes": [self._known.note]})
        self._known.baseline  # noqa: B018 - read now: a wrong one ends the run before it begins
        self._journal = Journal(folder.path / JOURNALS / CONTROLLER)
        self._write_head()

    def pytest_report_header(self) -> list[str]:
        lines = [self._switches()]
        if SIZED in self._config.stash:
            lines.append(f"gpuguard: {self._config.stash[SIZED]}")
        if any(self._settings.shown[name][1] != "default" for name in ("budget", "budget-dir", "pool")):
            from pytest_gpuguard.ledger.places import pools_path

            lines.append(f"gpuguard: budget in {pools_path(self._budget_dir()) / self._settings.pool}")
        return lines

    def _budget_dir(self) -> Path:
        from pytest_gpuguard.ledger.places import default_root

        return self._settings.budget_dir or default_root()

    def _switches(self) -> str:
        pairs = self._settings.shown.items()
        if self._config.get_verbosity() > 0:
            return "gpuguard: " + ", ".join(f"{name}={value} ({source})" for name, (value, source) in pairs)
        changed = " ".join(
            f"{name}={value}" for name, (value, source) in pairs if source not in {"default", "CI"}
        )
        return f"gpuguard: active {changed}".rstrip()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["gpuguard_folder"] = str(self._folder.path)
        node.workerinput["gpuguard_started"] = self.started
        node.workerinput["gpuguard_run"] = self._run
        node.workerinput["gpuguard_budget"] = {
            "folder": str(self._budget_dir()),
            "pool": self._settings.pool,
        }

    def reported(self, report: pytest.TestReport) -> None:
        """Take a report that a worker has sent."""
        payload = getattr(report, ATTRIBUTE, {})
        if report.when == "call" and report.outcome == "passed" and not payload:
            return  # when it began and ended, and with what, the other phases say
        # The report of a crash, made in the name of the worker, has no times.
        start = (report.start or time.time()) - self._epoch
        stop = (report.stop or time.time()) - self._epoch
        self.took(report.nodeid, start, stop, report.outcome, payload, report.node.gateway.id)

    def took(
        self,
        nodeid: str,
        start: float,
        stop: float,
        outcome: str,
        payload: dict[str, Any],
        worker: str = HERE,
    ) -> None:
        """Take what is known of a test, or of a phase of it, in seconds since the run's start."""
        if not payload and outcome == "passed":
            self._gathered.passed += nodeid, worker, start, stop
            return
        facts = payload.get("facts")
        span = self._gathered.add_phase(nodeid, worker, start, stop, outcome, facts)
        if payload:
            self._taken(payload, worker)
            span.leak_ids += tuple(leak.id for leak in self.add(payload))

    def _taken(self, payload: dict[str, Any], worker: str) -> None:
        if "process" in payload:
            self._gathered.add_process(payload["process"])
            self._gathered.add_counts(worker, payload["counts"])

    def add(self, payload: dict[str, Any]) -> list[Any]:
        """Take facts for the record; return the leaks among them."""
        leaks = self._gathered.add(payload)
        if leaks and not self._leaked:
            self._leaked = True
            self._config.pluginmanager.register(_Status(), "gpuguard-status")
        self._wide_leaks += sum(leak.judged_at != "function" and leak.known is None for leak in leaks)
        return leaks

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        # A crashed worker has no output; what it sent with its tests is here already.
        late = (getattr(node, "workeroutput", None) or {}).get(ATTRIBUTE, {})
        self._taken(late, node.gateway.id)
        self.add(late)
        worker = self._finished(node.gateway.id)
        if error is not None:
            worker.end, worker.error = "crashed", sound(str(error))
            self._journal.write(down=worker.id, error=worker.error, at=worker.finished)

    def died(self, name: str, pid: int, end: str, stacks: str) -> None:
        """Take how a worker ended; it may have ended before it said anything."""
        worker = self._finished(name)
        worker.pid, worker.end, worker.stacks = worker.pid or pid, end, stacks

    def cut_off(self, stall: dict[str, Any], deaths: list[dict[str, Any]]) -> None:
        """Write the record of a run that ends at once, in the test of ``stall``."""
        now = clock.monotonic() - self.started
        self._gathered.add_phase(stall["nodeid"], HERE, now - stall["idle_s"], now, "failed")
        self._gathered.workers.setdefault(HERE, Worker(HERE, os.getpid())).end = "killed"
        self.add({"stalls": [stall], "deaths": deaths, "notes": self.notes})
        self._write(build(self._gathered, self._head(1, "cut off"), self._shown()))

    def ask(self, ended: Callable[[], Columns]) -> None:
        """Have the tests of this process that have ended from ``ended``."""
        self._gathered.here = ended

    def spans(self) -> Collection[TestSpan]:
        """Return what is known of each test."""
        return self._gathered.tests

    def ran(self) -> int:
        """Return how many tests have begun."""
        return len({span.nodeid for span in self.spans()})

    def _finished(self, name: str) -> Worker:
        worker = self._gathered.workers.setdefault(name, Worker(name, 0))
        worker.finished = round(clock.monotonic() - self.started, 4)
        return worker

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        if self._guard is not None:
            late = self._guard.verdict.late()
            self._taken(late, HERE)
            self.add(late)
            self._finished(HERE)
            self._leaving = see_to_the_end(session, self._guard.threads.waited_for, self._settings.stall_end)
            self.notes += [self._leaving] if self._leaving else []
        if self._run_level() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._report = self._build(int(session.exitstatus))
        # Where nothing ran, the last run that is worth a look is another one. A test may have forked, and the
        # child go on as a pytest of its own; the run is its parent's.
        if happened(self._report) and self._folder.ours and not only_shows(session.config):
            self._write(self._report)
        return result

    def _head(self, exit_status: int = -1, end: str = "running") -> Run:
        scrub = Places(self._config.rootpath).scrub
        return Run(
            id=self._run,
            started=self._began.isoformat(timespec="seconds"),
            duration_s=round(clock.monotonic() - self.started, 4),
            argv=[scrub(sound(str(arg))) for arg in self._config.invocation_params.args],
            python=platform.python_version(),
            platform=sys.platform,
            exit_status=exit_status,
            end=end,
            versions=versions(),
            ci=ci_of(),
        )

    def _shown(self) -> dict[str, Setting]:
        scrub = Places(self._config.rootpath).scrub
        return {name: Setting(scrub(value), source) for name, (value, source) in self._settings.shown.items()}

    def _write_head(self) -> None:
        import msgspec

        with contextlib.suppress(OSError):  # as for the journals: the record at the end is the loud one
            self._folder.write_head(msgspec.json.encode({"run": self._head(), "settings": self._shown()}))

    def _build(self, exit_status: int) -> RunReport:
        import msgspec

        self._gathered.add({"notes": self.notes})
        interrupted = exit_status == pytest.ExitCode.INTERRUPTED
        head = self._head(exit_status, "interrupted" if interrupted else "finished")
        report = build(self._gathered, head, self._shown(), self._known.baseline, self._known.today)
        return msgspec.structs.replace(report, failed_by=self._run_level())

    def _write(self, report: RunReport) -> None:
        self._folder.kept = True
        try:
            encoded = encode(report)
            self._folder.write_report(encoded)
            self._journal.close()
            self._folder.forget_journals()
            if self._settings.report is not None:
                self._folder.export(self._settings.report, views(read_report(encoded, "")))
            write_step_summary(report)
        except OSError as problem:  # a full disk must not take the verdict of the tests with it
            self._unwritten = problem

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._report is None:
            return
        verbosity = self._config.get_verbosity("gpuguard")
        lines = section_lines(self._report, verbosity)
        if lines:
            terminalreporter.section("gpuguard")
            self._print(terminalreporter, [*lines, []])
        if not self._folder.kept:
            return
        if verbosity >= 0:
            self._print(terminalreporter, closing_lines(self._report, verbosity))
        elif self._leaving:
            self._print(terminalreporter, list(wrapped(f"gpuguard: {self._leaving}", "warn")))
        if self._settings.report is not None and verbosity >= 0 and self._unwritten is None:
            shown, _ = Places(self._config.rootpath).shown(str(self._settings.report / "index.html"))
            terminalreporter.write_line(f"gpuguard: report in {shown}")
        for command in workflow_commands(self._report):
            terminalreporter.ensure_newline()
            terminalreporter.write_line(command)
        if self._unwritten is not None:
            terminalreporter.write_line(
                f"gpuguard: the record could not be written: {self._unwritten}", red=True
            )

    def _run_level(self) -> list[str]:
        """Return why the run fails although no test does."""
        if only_shows(self._config):
            return []
        found = [line for unmet in self.requirements for line in unmet(self._modes())]
        if self._settings.leaks != "error":
            return found
        if self._wide_leaks:
            found.append(f"leaks of class, module and session scope make the run fail: {self._wide_leaks}")
        groups = apply(group(self._gathered.leaks), self._known.baseline, self._known.today)
        worse = sum(entry.status == "worse" for entry in groups)
        if worse:
            found.append(f"leaks that are worse than accepted make the run fail: {worse}")
        return found

    def _modes(self) -> set[str]:
        return {worker.mode for worker in self._gathered.workers.values() if worker.mode}

    @staticmethod
    def _print(terminalreporter: pytest.TerminalReporter, lines: list[Line]) -> None:
        for line in lines:
            for piece in line:
                terminalreporter.write(piece.text, **_MARKUP[piece.style])
            terminalreporter.write("\n")
