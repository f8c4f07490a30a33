"""What is found when a test is over, and what that does to its report.

Most tests leave nothing, so its hook is there on demand only: once something has moved, has failed or is to
be told, until that was not so for a while.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.devices.health import possible
from pytest_gpuguard.devices.modes import mode_used
from pytest_gpuguard.hooks.deaths import death_record
from pytest_gpuguard.hooks.junit import junit_properties
from pytest_gpuguard.hooks.known import is_own
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.track.words import said

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_gpuguard.hooks.guard import Guard
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.track.scope import Owner

__all__ = ["ATTRIBUTE", "Verdict"]

#: Where a test's payload rides on its report: plain values survive the way to the controller.
ATTRIBUTE = "gpuguard"

_NAME = "gpuguard-verdict"
#: For so many tests of which there is nothing to tell it stays: to come and go costs about as much as that.
_LINGERS = 3
#: Seconds for which counts that have only grown are not told again; the last ones come with the end.
_SELDOM = 1.0


class Verdict(Plug):
    """Judges the tests of one process.

    Parameters
    ----------
    config, settings
        The run and its switches.
    guard
        Whose parts have seen what there is.
    worker
        Name of this process.
    started
        The run's start in monotonic seconds.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, guard: Guard, worker: str, started: float
    ) -> None:
        self._plugins, self._hook, self._settings = config.pluginmanager, config.hook, settings
        self._guard, self._worker, self._started = guard, worker, started
        self._own: list[dict[str, Any]] = []
        self._told_at = float("-inf")
        self._quiet = 0
        #: Whether it is there.
        self.here = False

    def demand(self) -> None:
        """Be there for the reports to come."""
        self._quiet = 0
        if not self.here:
            self.here = True
            self._plugins.register(self, _NAME)

    def stirred(self) -> bool:
        """Return whether there is anything to judge or to tell of the test that is over."""
        guard = self._guard
        stirred = bool(
            guard.tracker.moved()
            or self._told_at < 0  # nobody knows of this process yet
            or guard.deaths.deaths
            or guard.stalls.stalls
            or guard.tracker.notes
            or (guard.leasing is not None and guard.leasing.any)
            or guard.sticky.stirred()
        )
        if possible() or (guard.leasing is not None and guard.leasing.attended):
            # Who could use a device, and who claims, tells nobody of it.
            guard.tracker.ask_again()
        return stirred

    # First of all that hear of a report, wherever they are: a wrapper, and the last one that was registered.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        # After all teardown, so that nothing of the suite is cut short; not by raising, since an exception in
        # teardown is swallowed by xfail and sets off reruns.
        guard = self._guard
        error = guard.course.errors.pop(report.when, None)
        if error is not None:
            guard.lifeline.complete(report, error)
        if guard.scene.owner is not None:
            guard.course.note(report)
            if report.when == "teardown":
                self._judge_test(report, guard.scene.owner)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # Whoever runs a test again has seen it fail.
        if self._guard.scene.owner is None:
            self._guard.course.begin(item)

    def _judge_test(self, report: pytest.TestReport, owner: Owner) -> None:
        guard, scene = self._guard, self._guard.scene
        owner.ended = True
        faults = guard.shortages.take() + guard.sticky.judge(report, again=scene.rerun)
        leaks = self._judge(guard.course.item, verified=not scene.failed)
        payload = self._payload(leaks, faults)
        if payload:
            report.user_properties += junit_properties(payload)
            setattr(report, ATTRIBUTE, payload)
        if leaks or self._own:
            self._hold_against(report, leaks, owner)
        guard.course.over(payload)
        self._linger(wanted=bool(payload or scene.failed))

    def _linger(self, *, wanted: bool) -> None:
        self._quiet = 0 if wanted else self._quiet + 1
        if self._quiet > _LINGERS:
            self.here = False
            self._plugins.unregister(self)

    def _payload(self, leaks: list[dict[str, Any]], faults: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what is to be told of the test that ends: nothing of most."""
        payload = self._happened()
        if leaks:
            payload["leaks"] = leaks
        if faults:
            payload["faults"] = faults
        filled = {name: entries for name, entries in payload.items() if entries}
        now = clock.monotonic()
        if not filled and (now - self._told_at < _SELDOM or not self._guard.tracker.recounts):
            return {}
        self._told_at = now
        return filled | self._state()

    def _happened(self) -> dict[str, Any]:
        """Return what was noted since the last time, and forget it."""
        guard = self._guard
        payload: dict[str, Any] = guard.leasing.payload() if guard.leasing is not None else {}
        if guard.deaths.deaths:
            payload["deaths"] = [
                death_record(death, guard.places, self._worker, self._started)
                for death in guard.deaths.take()
            ]
        if guard.stalls.stalls:
            payload["stalls"] = [guard.dossier.record(stall) for stall in guard.stalls.take()]
        if guard.tracker.notes:
            payload["notes"] = [*payload.get("notes", []), *guard.tracker.notes]
            guard.tracker.notes.clear()
        return payload

    def _state(self) -> dict[str, Any]:
        """Return what is to be known of this process."""
        process = {
            "id": self._worker,
            "pid": os.getpid(),
            "mode": mode_used(),
            "unable": self._unable(),
            "watching": self._guard.tracker.watching(),
        }
        return {"counts": self._guard.tracker.counts(), "process": process}

    def _unable(self) -> str | None:
        fault = self._guard.monitor.fault
        return f"the monitor fails: {said(fault)}" if fault is not None else self._guard.interrupter.unable

    def _hold_against(self, report: pytest.TestReport, leaks: list[dict[str, Any]], owner: Owner) -> None:
        self._own += [leak for leak in leaks if is_own(leak, owner.node)]
        # One error however often a test is run: it comes with the last run, which is the one that counts.
        if not self._guard.scene.rerun:
            if self._own and self._settings.leaks == "error":
                self._fail(report, self._own)
                self._guard.course.outcome = "failed"
            self._own = []

    def _fail(self, report: pytest.TestReport, leaks: list[dict[str, Any]]) -> None:
        from pytest_gpuguard.report.build import group_payload
        from pytest_gpuguard.report.text import leak_lines, plain

        groups = group_payload(leaks)
        text = "\n\n".join(plain(leak_lines(group)) for group in groups)
        if report.failed:
            report.sections.append(("gpuguard: also leaked", text))
        else:
            report.outcome = "failed"
            report.longrepr = f"left behind: {', '.join(group.title for group in groups)}\n\n{text}"

    def _judge(self, item: pytest.Item | None, *, verified: bool) -> list[dict[str, Any]]:
        if self._settings.leaks == "off":
            return []
        guard = self._guard
        found = guard.tracker.judge(verified=verified)
        if not found:
            return found
        leaks = guard.sticky.believable(found)
        guard.known.mark(item, leaks)
        guard.tracker.reap()
        for leak in leaks:
            self._hook.pytest_gpuguard_leak(leak=leak)
        return leaks

    def late(self) -> dict[str, Any]:
        """Return what is found after the last test; who sums up in this process asks for it."""
        leaks = self._judge(None, verified=True)
        self._guard.tracker.note_excused()
        # With what came after the last test was asked whether there is anything to tell.
        return self._happened() | self._state() | {"leaks": leaks}
