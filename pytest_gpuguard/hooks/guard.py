"""The role of a process in which tests run: attributes, watches, judges at the end of each scope.

One object holds the parts of :mod:`pytest_gpuguard.track` together; its hooks tell them what pytest does.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from functools import partial
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
    from collections.abc import Callable, Generator, Iterator
    from types import CodeType

    from pytest_gpuguard.hooks.keeping import Keeping
    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.track.scope import Phase

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
        self._told: object = None
        # What phases have ended with, until they are reported: a traceback keeps things alive.
        self._errors: dict[str | None, BaseException] = {}
        self._begun, self._outcome = 0.0, "passed"
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
        self.dossier.deaths = lambda: [self._death(death) for death in tuple(self.deaths.deaths)]
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
        #: The journal of this process.
        self.keeping: Keeping | None = None
        #: Told of the end of each test: node id, start, stop, outcome, payload.
        self.tell: Callable[[str, float, float, str, dict[str, Any]], object] = lambda *_: None

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

    # Scopes. Whatever is done here is done for every test of a suite: what is only of interest when
    # something has happened is looked for then.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        if not self.monitor.running:
            # Whatever came since we began to watch, by imports and plugins, is nobody's.
            self.tracker.sweep()
            self.monitor.start()
        if self.lifeline.lost:
            # A test can take the GIL before the monitor has run at all.
            self.lifeline.beat(time.monotonic())
        # First of all: neither our clock nor that of any other plugin counts the wait for a lease.
        if self.leasing is not None:
            self.leasing.claim(item)
        self.sticky.last = nextitem is None
        self._begun, self._outcome = self._begin(item) - self._started, "passed"
        if self.keeping is not None:
            self.keeping.begin(item.nodeid, self._begun)
        try:
            result = yield
            if self.sticky.leaves:
                self.sticky.end_fixtures(item)
            return result
        finally:
            if self.scene.owner is not None:
                self._over(item.nodeid, {})
            if self.leasing is not None:
                self.leasing.free()
            if self.sticky.leaves:
                self.sticky.leave(item.session)

    def _begin(self, item: pytest.Item) -> float:
        self._item, now = item, time.monotonic()
        owner = Owner("function", item.nodeid, None, _code(getattr(item, "obj", None)))
        self.scene.begin(owner, getattr(item, "fixturenames", ()), now)
        return now

    def running(self) -> set[str]:
        """Return the node id of the running test, if there is one."""
        return {self.scene.owner.node} if self.scene.owner is not None else set()

    def _over(self, nodeid: str, payload: dict[str, Any]) -> None:
        """The test, or this run of it, has ended and was judged, or was broken off."""
        self.scene.end()
        self._errors.clear()
        if self.deaths.deaths:
            self.deaths.take()
        if self.stalls.stalls:
            self.stalls.take()
        now = time.monotonic() - self._started
        if self.keeping is not None:
            self.keeping.end(nodeid, self._begun, now, self._outcome, payload)
        self.tell(nodeid, self._begun, now, self._outcome, payload)

    def _phase(self, phase: Phase) -> None:
        # An interrupt can have come between the windows' ends: a new phase starts without any.
        self.interrupter.windows = 0
        self.scene.phase = phase
        self.scene.touch(time.monotonic())
        if self.lifeline.vitals is not None:
            self.lifeline.phase(phase)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.scene.owner is None:
            # A rerun of the test is a new owner, under the same protocol.
            self._begin(item)
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
        scene, owner, scope = self.scene, None, fixturedef.scope
        fixture = Fixture(fixturedef.argname, scope, request.node.nodeid, _code(fixturedef.func))
        if scope != "function":
            # What is there already is not of this fixture, though nobody saw it being made.
            self.tracker.sweep()
            owner = Owner(scope, fixture.node, fixture, fixture.code)
            self._owners[fixturedef] = owner
            # Runs last, when everything that the fixture has is torn down.
            fixturedef.addfinalizer(partial(self._finished, fixturedef))
        elif self._fine:
            self.tracker.sweep()
        scene.enter(fixture, owner, time.monotonic())
        self.interrupter.windows += 1
        value = None
        try:
            value = yield
            return value
        finally:
            self.interrupter.windows -= 1
            if owner is not None or self._fine:
                self.tracker.sweep()
            scene.leave(fixture, owner, value, time.monotonic())

    def _finished(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        owner = self._owners.pop(fixturedef, None)
        if owner is not None:
            # Its things may have been born long ago: no counter will have moved.
            owner.ended = True
            self.tracker.force()

    def pytest_enter_pdb(self) -> None:
        # Whoever debugs a test takes the time he needs: until its end nothing is a stall, no wait is broken.
        self.scene.progress = None

    # Verdicts.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None:
            self._errors[call.when] = call.excinfo.value

    def _complete(self, report: pytest.TestReport) -> None:
        error = self._errors.pop(report.when, None)
        if error is not None:
            self.lifeline.complete(report, error)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        # After all teardown, so that nothing of the suite is cut short; not by raising, since an exception in
        # teardown is swallowed by xfail and sets off reruns.
        if self.leasing is not None:
            # At the end of each phase: whoever waits for us waits on.
            self.leasing.desk.progress()
        if self._errors:
            self._complete(report)
        if self.scene.owner is not None:
            if report.outcome != "passed":
                self._note(report)
            if report.when == "teardown":
                self._judge_test(report)
        return (yield)

    def _note(self, report: pytest.TestReport) -> None:
        """Note that a phase has not passed: the worst outcome of a test's phases counts."""
        self.scene.rerun |= str(report.outcome) == "rerun"  # an outcome of rerun plugins
        # An expected failure has a traceback like any other.
        self.scene.failed |= report.failed or self.scene.rerun or hasattr(report, "wasxfail")
        if self._outcome == "passed" or report.failed:
            self._outcome = str(report.outcome)

    def _judge_test(self, report: pytest.TestReport) -> None:
        owner = self.scene.owner
        assert owner is not None
        owner.ended = True
        faults = self.shortages.take() + self.sticky.judge(report, again=self.scene.rerun)
        leaks = self._judge(self._item, verified=not self.scene.failed)
        payload = self._payload(leaks, faults)
        if payload:
            report.user_properties += junit_properties(payload)
            setattr(report, ATTRIBUTE, payload)
        if leaks or self._own:
            self._hold_against(report, leaks, owner)
        self._over(owner.node, payload)

    def _payload(self, leaks: list[dict[str, Any]], faults: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what is to be told of the test that ends: nothing of most."""
        payload: dict[str, Any] = self.leasing.payload() if self.leasing is not None else {}
        if leaks:
            payload["leaks"] = leaks
        if faults:
            payload["faults"] = faults
        if self.deaths.deaths:
            payload["deaths"] = [self._death(death) for death in self.deaths.take()]
        if self.stalls.stalls:
            payload["stalls"] = [self.dossier.record(stall) for stall in self.stalls.take()]
        if self.tracker.notes:
            payload["notes"] = [*payload.get("notes", []), *self.tracker.notes]
            self.tracker.notes.clear()
        counts = self.tracker.counts()
        filled = {name: entries for name, entries in payload.items() if entries}
        if not filled and counts is self._told:
            return {}
        self._told = counts
        return filled | self._state()

    def _state(self) -> dict[str, Any]:
        """Return what is to be known of this process."""
        process = {
            "id": self._worker,
            "pid": os.getpid(),
            "mode": mode_used(),
            "unable": self._unable(),
            "watching": self.tracker.watching(),
        }
        return {"counts": self.tracker.counts(), "process": process}

    def _hold_against(self, report: pytest.TestReport, leaks: list[dict[str, Any]], owner: Owner) -> None:
        self._own += [leak for leak in leaks if is_own(leak, owner.node)]
        # One error however often a test is run: it comes with the last run, which is the one that counts.
        if not self.scene.rerun:
            if self._own and self._settings.leaks == "error":
                self._fail(report, self._own)
                self._outcome = "failed"
            self._own = []

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
        found = self.tracker.judge(verified=verified)
        if not found:
            return found
        leaks = self.sticky.believable(found)
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
        notes = [*payload.get("notes", []), *self.tracker.notes]
        return payload | self._state() | {"leaks": leaks, "notes": notes}
