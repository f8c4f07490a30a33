"""The role of a process in which tests run: attributes, watches, judges at the end of each scope.

One object holds the parts of :mod:`pytest_gpuguard.track` together; its hooks tell them what pytest does.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.devices.modes import mode_used
from pytest_gpuguard.hooks.dossier import Dossier
from pytest_gpuguard.hooks.ended import TestEnded
from pytest_gpuguard.hooks.junit import junit_properties
from pytest_gpuguard.hooks.known import Known, is_own
from pytest_gpuguard.hooks.lifeline import Lifeline
from pytest_gpuguard.hooks.probes import probes_for, things_of
from pytest_gpuguard.hooks.shortages import Shortages
from pytest_gpuguard.hooks.sticky import StickyErrors
from pytest_gpuguard.hooks.unclosed import Unclosed
from pytest_gpuguard.track.deaths import Death, DeathWatch
from pytest_gpuguard.track.interrupt import Interrupter
from pytest_gpuguard.track.leak import origin
from pytest_gpuguard.track.monitor import Monitor
from pytest_gpuguard.track.scope import Fixture, Owner, Scene
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.stall import StallWatch
from pytest_gpuguard.track.tracker import Tracker
from pytest_gpuguard.track.words import said, sound

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import CodeType

    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.hooks.settings import Settings

__all__ = ["Guard"]

#: Where a test's payload rides on its report: plain values survive the way to the controller.
ATTRIBUTE = "gpuguard"


def _code(function: object) -> CodeType | None:
    return getattr(function, "__code__", None)


def _expected(text: str, *, raw: bool) -> bool:
    """Return whether the suite ignores pytest's warning of that text; the first filter that fits decides."""
    ours = pytest.PytestUnraisableExceptionWarning if raw else pytest.PytestUnhandledThreadExceptionWarning
    for action, message, category, module, _ in warnings.filters:
        if (message is None or re.match(message, text)) and module is None and issubclass(ours, category):
            return action == "ignore"
    return False


class Guard:
    """Watches the tests of one process.

    Parameters
    ----------
    config
        The run's configuration.
    settings
        The switches in force.
    folder
        Shared by the run's processes; None where it cannot be reached.
    worker
        ``"gw0"`` and so on, ``"main"`` without xdist.
    started
        The run's start in monotonic seconds.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, folder: RunFolder | None, worker: str, started: float
    ) -> None:
        self._settings, self._worker, self._started = settings, worker, started
        self._own: list[dict[str, Any]] = []
        self._told: dict[str, Any] = {}
        self._hook: Any = config.hook
        self._item: pytest.Item | None = None
        #: Whether there are kinds that are only found by looking: then one looks around each fixture.
        self._fine = bool({"fd", "memory"} & settings.leak_kinds)
        self._places = Places(config.rootpath)
        self._owners: dict[pytest.FixtureDef[Any], Owner] = {}
        self.scene = Scene()
        self.threads, probes = probes_for(self.scene, settings.leak_kinds, config)
        Unclosed.register(config, probes)
        self.interrupter = Interrupter(self.scene)
        self.tracker = Tracker(
            probes,
            self._places,
            worker=worker,
            started=started,
            settle_for=settings.settle,
            reap=settings.reap,
            referrers=settings.referrers,
            values=self._values,
            let_go=self._let_go,
        )
        self.dossier = Dossier(folder, worker, self.scene, self.tracker, self._places, started)
        self.dossier.things = things_of(probes)
        #: Ends this process where a test cannot be ended.
        self.lifeline = Lifeline(config, settings, folder, worker, self.scene, self.dossier)
        self.deaths = DeathWatch(
            self.scene,
            self.threads,
            self.interrupter,
            patience=settings.settle,
            breaks=settings.thread_death == "fail",
            expected=_expected,
            error=self._death_error,
            clock=time.monotonic,
        )
        self.stalls = StallWatch(
            self.scene,
            self.interrupter,
            after=settings.stall,
            end_after=settings.stall_end,
            dossier=self.dossier.write,
            error=self.dossier.error,
            kill=self.lifeline.kill,
        )
        self.monitor = Monitor(self._look)
        self.deaths.alarm = self.monitor.alarm
        #: Ends it where nothing in it can use CUDA any more.
        self.sticky = StickyErrors(config, worker, started)
        #: Says who had the memory where it runs out.
        self.shortages = Shortages(folder, worker, started, self.dossier)
        self.lifeline.failed += [self.shortages.look, self.sticky.look]
        #: What is tolerated.
        self.known = Known(settings.baseline, config.hook)
        #: What the tests hold of the budget.
        self.leasing: Leasing | None = None

    def lease_by(self, leasing: Leasing) -> None:
        """Claim what tests need from ``leasing``, from now on."""
        self.leasing = leasing
        self.shortages.desk = leasing.desk
        self.dossier.leases, self.dossier.edges = leasing.desk.described, leasing.desk.edges
        leasing.uses.saw = self.lifeline.used

    def install(self, config: pytest.Config) -> None:
        """Put every wrapper in place; each is taken out again when the configuration ends."""
        for part in (self.tracker, self.interrupter, self.deaths):
            config.add_cleanup(part.install())
        self.lifeline.install(config)
        config.add_cleanup(self.dossier.leave)
        config.add_cleanup(self.monitor.stop)

    # What the monitor's thread does.

    def _look(self, now: float) -> float:
        self.lifeline.look(now)
        self.deaths.look(now)
        self.stalls.look(now)
        self.dossier.answer()
        often = min(max(self._settings.settle / 10, 0.005), 0.05)
        return often if self.deaths.pending else min(self.stalls.pace, self.lifeline.pace)

    def _death_error(self, death: Death) -> BaseException:
        where = death.birth and origin(death.birth, self._places)["fixture"]
        by = f"fixture `{where['name']}` ({where['file']}:{where['line']})" if where else "the test"
        return TestEnded(
            f"GPG110: thread {death.target.rpartition(':')[2]} ({sound(death.thread)!r}), started by {by}, "
            f"ended with {said(death.error)}\n"
            f"the test went on waiting for it and was ended after {self._settings.settle:g} s; "
            "the thread's own traceback is shown as the cause"
        )

    # Scopes.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self.monitor.start()
        # First of all: neither our clock nor that of any other plugin counts the wait for a lease.
        if self.leasing is not None:
            self.leasing.claim(item)
        if self._item is None:
            # What came since we began to watch, by imports and plugins, is nobody's.
            self.tracker.sweep()
        self.sticky.last = nextitem is None
        self._begin(item)
        try:
            result = yield
            self.sticky.end_fixtures(item)
            return result
        finally:
            self.scene.end()
            self.deaths.take()
            self.stalls.take()
            if self.leasing is not None:
                self.leasing.free()
            self.sticky.leave(item.session)

    def _begin(self, item: pytest.Item) -> None:
        owner = Owner("function", item.nodeid, code=_code(getattr(item, "function", None)))
        self._item = item
        self.scene.begin(owner, frozenset(getattr(item, "fixturenames", ())), time.monotonic())

    def _phase(self, phase: Any) -> None:
        # An interrupt can have come between the windows' ends: a new phase starts without any.
        self.interrupter.windows = 0
        self.scene.phase = phase
        self.scene.touch(time.monotonic())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._phase("setup")
        if self.leasing is not None:
            self.leasing.refuse()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._phase("teardown")

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        self._phase("call")
        # Innermost, hence inside pytest's own catch of the phase: whatever is raised in here fails this test.
        self.interrupter.windows += 1
        try:
            return (yield)
        finally:
            self.interrupter.windows -= 1

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        fixture = Fixture(fixturedef.argname, fixturedef.scope, request.node.nodeid, _code(fixturedef.func))
        owner = None
        if self._fine:
            self.tracker.sweep()
        if fixture.scope != "function":
            # What is there already is not of this fixture, though nobody saw it being made.
            self.tracker.sweep()
            owner = Owner(fixture.scope, fixture.node, fixture, fixture.code)
            self._owners[fixturedef] = owner
        self.scene.enter(fixture, owner, time.monotonic())
        self.interrupter.windows += 1
        value = None
        try:
            value = yield
            return value
        finally:
            self.interrupter.windows -= 1
            if owner is not None or self._fine:
                self.tracker.sweep()
            self.scene.leave(fixture, owner, value, time.monotonic())

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        owner = self._owners.pop(fixturedef, None)
        if owner is not None:
            # Its things may have been born long ago: no counter will have moved.
            owner.ended = True
            self.tracker.force()

    def pytest_enter_pdb(self) -> None:
        # Whoever debugs a test takes the time he needs: until its end nothing is a stall, no wait is broken.
        self.scene.progress = None

    # Verdicts.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        # After all teardown, so that nothing of the suite is cut short; not by raising, since an exception in
        # teardown is swallowed by xfail and sets off reruns.
        if self.scene.owner is not None:
            self.scene.rerun |= str(report.outcome) == "rerun"  # an outcome of rerun plugins
            # An expected failure has a traceback like any other.
            self.scene.failed |= report.failed or self.scene.rerun or hasattr(report, "wasxfail")
            if report.when == "teardown":
                self._judge_test(report)
        return (yield)

    def _judge_test(self, report: pytest.TestReport) -> None:
        owner, failed = self.scene.owner, self.scene.failed
        assert owner is not None
        owner.ended = True
        faults = self.sticky.judge(report, again=self.scene.rerun)
        leaks = self._judge(self._item, verified=not failed)
        self._own += [leak for leak in leaks if is_own(leak, owner.node)]
        payload: dict[str, Any] = {
            "leaks": leaks,
            "faults": self.shortages.take() + faults,
            "deaths": [self._death(death) for death in self.deaths.take()],
            "stalls": [self.dossier.record(stall) for stall in self.stalls.take()],
        }
        if self.leasing is not None:
            payload |= self.leasing.payload()
        if self.tracker.notes:
            payload["notes"] = [*payload.get("notes", []), *self.tracker.notes]
            self.tracker.notes.clear()
        self._attach(report, payload)
        # One error however often a test is run: it comes with the last run, which is the one that counts.
        if not self.scene.rerun:
            if self._own and self._settings.leaks == "error":
                self._fail(report, self._own)
            self._own = []
        # A rerun of the test is a new owner, under the same protocol.
        assert self._item is not None
        self._begin(self._item)

    def _attach(self, report: pytest.TestReport, payload: dict[str, Any]) -> None:
        filled: dict[str, Any] = {name: entries for name, entries in payload.items() if entries}
        process = {
            "id": self._worker,
            "pid": os.getpid(),
            "mode": mode_used(),
            "unable": self._unable(),
            "watching": self.tracker.watching(),
        }
        report.user_properties += junit_properties(payload)
        state = {"counts": self.tracker.counts(), "process": process}
        # Nearly every test changes nothing of this: then it need not be carried, written and read.
        if filled or state != self._told:
            self._told = state
            setattr(report, ATTRIBUTE, filled | state)

    def _unable(self) -> str | None:
        fault = self.monitor.fault
        return f"the monitor ended: {said(fault)}" if fault is not None else self.interrupter.unable

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
        leaks = self.sticky.believable(self.tracker.judge(verified=verified))
        self.known.mark(item, leaks)
        self.tracker.reap()
        for leak in leaks:
            self._hook.pytest_gpuguard_leak(leak=leak)
        return leaks

    def _let_go(self) -> None:
        # pytest drops the values of a test's fixtures after the last report only: they are no leak.
        funcargs = getattr(self._item, "funcargs", None)
        if funcargs:
            funcargs.clear()

    def _values(self) -> Iterator[tuple[Owner, object]]:
        """Yield what the wider fixtures in force have given, and whose it is."""
        for fixturedef, owner in self._owners.items():
            if fixturedef.cached_result is not None:
                yield owner, fixturedef.cached_result[0]

    def _death(self, death: Death) -> dict[str, Any]:
        return {
            "thread": sound(death.thread),
            "target": death.target,
            "error": self._places.scrub(said(death.error)),
            "nodeid": death.owner.node,
            "worker": self._worker,
            "at": death.at - self._started,
            "interrupted": death.interrupted,
            "origin": origin(death.birth, self._places) if death.birth else None,
        }

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        # Judged after the yield: what a stopped run (-x) left standing is torn down inside this hook.
        result = yield
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[ATTRIBUTE] = self.late()
        return result

    def late(self) -> dict[str, Any]:
        """Return what is found after the last test; who sums up in this process asks for it."""
        leaks = self._judge(None, verified=True)
        self.tracker.note_excused()
        payload: dict[str, Any] = self.leasing.payload() if self.leasing is not None else {}
        return payload | {"leaks": leaks, "notes": [*payload.get("notes", []), *self.tracker.notes]}
