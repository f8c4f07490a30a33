"""The role of a process in which tests run: attributes, watches, judges at the end of each scope.

One object holds the parts of :mod:`pytest_gpuguard.track` together; its hooks tell them what pytest does.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.course import Course
from pytest_gpuguard.hooks.deaths import death_error, death_record, expected
from pytest_gpuguard.hooks.dossier import Dossier
from pytest_gpuguard.hooks.first import First
from pytest_gpuguard.hooks.keeping import Keeping
from pytest_gpuguard.hooks.known import Known
from pytest_gpuguard.hooks.lifeline import Lifeline
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.probes import probes_for, things_of
from pytest_gpuguard.hooks.settings import KINDS
from pytest_gpuguard.hooks.shortages import Shortages
from pytest_gpuguard.hooks.sticky import StickyErrors
from pytest_gpuguard.hooks.unclosed import Unclosed
from pytest_gpuguard.hooks.untouched import keep_the_real_files
from pytest_gpuguard.hooks.verdict import ATTRIBUTE, Verdict
from pytest_gpuguard.track.deaths import DeathWatch
from pytest_gpuguard.track.holding import Names
from pytest_gpuguard.track.interrupt import Interrupter
from pytest_gpuguard.track.monitor import Monitor
from pytest_gpuguard.track.objects import instances, is_a, namespace_of
from pytest_gpuguard.track.scope import BEFORE, Fixture, Owner, Scene
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.stall import StallWatch
from pytest_gpuguard.track.tracker import FINE, Tracker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import CodeType, FrameType

    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.track.holding import Namespace

__all__ = ["Guard"]

#: What runs the finalizers of a fixture: pytest does not tell whose, but its frame does.
_FINISH = pytest.FixtureDef.finish.__code__


_POOLS = (
    "concurrent.futures.thread:ThreadPoolExecutor",
    "concurrent.futures.process:ProcessPoolExecutor",
    "multiprocessing.pool:Pool",
    "multiprocessing.managers:SharedMemoryManager",
)


def _code(function: object) -> CodeType | None:
    return getattr(function, "__code__", None)


def _code_of_test(item: pytest.Item | None) -> CodeType | None:
    function = getattr(item, "obj", None)
    within = getattr(function, "__wrapped__", None)
    # While a coroutine of the suite runs, plugins put what runs it in its place.
    return _code(within if inspect.iscoroutinefunction(within) else function)


def _frame_of(code: CodeType | None) -> FrameType | None:
    """Return the innermost frame of ``code`` in the calling thread, if it runs that."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the documented way
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame


def _namespaces(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> list[Namespace]:
    """Return those of the class and the modules in which a fixture may leave something for its tests."""
    owns = [getattr(request, name, None) for name in ("cls", "module")]  # not every scope has them
    code, names = _code(fixturedef.func), getattr(fixturedef.func, "__globals__", {})
    # A fixture of a conftest has another module, and may write into one that it names.
    owns += [own for name in (code.co_names if code else ()) if is_a(own := names.get(name), ModuleType)]
    spaces = [names, *(namespace_of(own) for own in owns if own is not None)]
    return list({id(space): space for space in spaces}.values())


#: All that a fixture does whose parameter is its value.
_HANDS_ON = (lambda request: request.param).__code__


def _only_hands_on(function: object) -> bool:
    """Return whether all that a fixture does is to give its parameter: what ``parametrize`` makes of one."""
    code = _code(function)
    return (
        code is not None
        and code.co_names == _HANDS_ON.co_names
        # To call it has the same names.
        and code.co_code == _HANDS_ON.co_code
    )


class Guard(Plug):
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
        self._settle = settings.settle
        self._fine = bool(FINE & settings.leak_kinds)
        self.places = Places(config.rootpath)
        # Of wide fixtures in force, and of those that ended since the last test.
        self._owners: dict[pytest.FixtureDef[Any], Owner] = {}
        self._over: list[Owner] = []
        # There before the tests, as a module has them for good: what they start late is no test's either.
        self._pools: list[weakref.ref[object]] = []
        # Of each fixture; empty for one that only hands on its parameter.
        self._scopes: dict[pytest.FixtureDef[Any], str] = {}
        self.scene = Scene(
            closure=lambda: getattr(self.course.item, "fixturenames", ()),
            code=lambda: _code_of_test(self.course.item),
            torn_down=self._torn_down,
        )
        self.threads, probes = probes_for(self.scene, settings.leak_kinds, config)
        Unclosed.register(config, probes)
        self.interrupter = Interrupter(self.scene, self._entries)
        self.tracker = Tracker(
            probes,
            self.scene,
            self.places,
            worker=worker,
            started=started,
            settle_for=settings.settle,
            reap=settings.reap,
            referrers=settings.referrers,
            values=self._values,
            let_go=self._let_go,
        )
        self.dossier = Dossier(folder, worker, self.scene, self.tracker, self.places, started)
        self.dossier.things = things_of(probes)
        self.dossier.deaths = lambda: [
            death_record(death, self.places, worker, started) for death in tuple(self.deaths.deaths)
        ]
        #: Ends this process where a test cannot be ended.
        self.lifeline = Lifeline(config, settings, folder, worker, self.scene, self.dossier)
        self.deaths = DeathWatch(
            self.scene,
            self.threads,
            self.interrupter,
            patience=settings.settle,
            breaks=settings.thread_death == "fail",
            expected=expected,
            error=lambda death: death_error(death, self.places, settings.settle),
            clock=clock.monotonic,
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
        self.sticky = StickyErrors(config, worker, started, self.scene)
        #: Says who had the memory where it runs out.
        self.shortages = Shortages(folder, worker, started, self.dossier)
        self.sticky.running = lambda: self.course.item
        self.lifeline.failed += [self.shortages.look, self.sticky.look]
        #: Judges, and tells what was found.
        self.verdict = Verdict(config, settings, self, worker, started)
        #: What is tolerated.
        self.known = Known(settings.baseline, config.hook, KINDS.union(*(probe.kinds for probe in probes)))
        #: What the tests hold of the budget.
        self.leasing: Leasing | None = None
        #: What is kept of each test.
        self.keeping = Keeping(None if folder is None else folder.path, worker, started)
        #: How the tests go.
        self.course = Course(self.scene, self.tracker, self.keeping, self.verdict)

    def lease_by(self, leasing: Leasing) -> None:
        """Claim what tests need from ``leasing``, from now on."""
        self.leasing = leasing
        self.shortages.desk = leasing.desk
        self.dossier.leases, self.dossier.edges = leasing.desk.described, leasing.desk.edges
        leasing.uses.saw = self.lifeline.used
        leasing.roused = self.scene.stir
        leasing.running = lambda: self.course.item if self.scene.owner is not None else None

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
        often = min(max(self._settle / 10, 0.005), 0.05)
        return often if self.deaths.pending else min(self.stalls.pace, self.lifeline.pace)

    def _note_pools(self) -> None:
        # By references of their own, no set of them: a class may make its instances unhashable.
        self._pools = [weakref.ref(pool) for pool in instances(*_POOLS)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        # Whatever came since we began to watch, by imports and plugins, is nobody's.
        steps = (keep_the_real_files, self.tracker.sweep, self._note_pools, self.monitor.start)
        First(session.config, *steps).register()
        return (yield)

    def running(self) -> set[str]:
        """Return the node id of the running test, if there is one."""
        return {self.scene.owner.node} if self.scene.owner is not None else set()

    def _forget(self) -> None:
        """Let go of the names of the fixtures that have ended.

        Births have these as long as what leaked is there, and are to keep nothing of the suite alive.
        """
        while self._over:
            self._over.pop().names = None

    def _entries(self) -> list[CodeType | None]:
        """Return where an interrupt fails the running test: what pytest calls lies within its own catch."""
        test = [_code(getattr(self.course.item, "runtest", None))] if self.scene.phase == "call" else []
        return test + [fixture.code for fixture in self.scene.fixtures]

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        scope = self._scopes.get(fixturedef)
        if scope is None:
            # Once: pytest computes it each time.
            scope = self._scopes[fixturedef] = "" if _only_hands_on(fixturedef.func) else fixturedef.scope
        if not scope:
            return (yield)
        scene, owner = self.scene, None
        test = scene.owner
        # The node of a fixture of the test alone need not be asked for, which pytest computes.
        node = test.node if test is not None and scope == "function" else request.node.nodeid
        fixture = Fixture(fixturedef.argname, scope, node, _code(fixturedef.func))
        if scope != "function":
            # What is there already is not of this fixture, though nobody saw it being made.
            self.tracker.sweep()
            names = Names(_namespaces(fixturedef, request))
            owner = Owner(scope, fixture.node, fixture, fixture.code, names=names)
            self._owners[fixturedef] = owner
            # Runs last, when everything that the fixture has is torn down.
            fixturedef.addfinalizer(partial(self._finished, fixturedef))
        elif self._fine:
            self.tracker.sweep(fine=True)
        scene.enter(fixture, owner, clock.monotonic())
        value = None
        try:
            value = yield
            return value
        except BaseException:
            fixture.failed = True
            if owner is not None:
                # pytest keeps the traceback, to raise it again: it can outlive the test that came first.
                owner.failed = True
            raise
        finally:
            if owner is not None:
                names.read()
                self.tracker.sweep()
                fixturedef.addfinalizer(self._ends)  # runs first
            elif self._fine:
                self.tracker.sweep(fine=True)
            scene.leave(fixture, owner, value, clock.monotonic())

    def _ends(self) -> None:
        # What is there already is not of this fixture's teardown. And what the test has taken and what this
        # gives back would look like nothing.
        torn_down, self.scene.torn_down = self.scene.torn_down, lambda: None
        try:
            self.tracker.sweep()
        finally:
            self.scene.torn_down = torn_down

    def _finished(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        owner = self._owners.get(fixturedef)
        if owner is None:
            return
        owner.ended = True
        # What its teardown has left is its own.
        self.tracker.sweep()
        self._over.append(self._owners.pop(fixturedef))
        self.course.after.append(self._forget)
        if owner.fixture is not None:
            self.tracker.part(owner.fixture)  # pytest has its value for a moment yet
        # Its things may have been born long ago: no counter will have moved.
        self.tracker.force()

    def _torn_down(self) -> Fixture | None:
        """Return the fixture whose finalizers the calling thread runs."""
        frame = _frame_of(_FINISH)
        if frame is None:
            return None
        fixturedef = frame.f_locals["self"]
        owner = self._owners.get(fixturedef)
        if owner is not None:
            return owner.fixture
        # Several may have one name, where they override each other, or one function, where that is made anew.
        known_by = fixturedef.argname, _code(fixturedef.func)
        return next((one for one in self.scene.own if (one.name, one.code) == known_by), None)

    def pytest_enter_pdb(self) -> None:
        # Whoever debugs a test takes the time he needs: until its end nothing is a stall, no wait is broken.
        self.scene.progress = None

    def _let_go(self) -> None:
        # pytest drops the values of a test's fixtures after the last report only: they are no leak.
        funcargs = getattr(self.course.item, "funcargs", None)
        if funcargs:
            funcargs.clear()

    def _values(self) -> Iterator[tuple[Owner, object]]:
        """Yield what may have started something late, and whose that is then."""
        for pool in self._pools:
            yield BEFORE, pool()
        for fixturedef, owner in self._owners.items():
            yield owner, owner.left()
            if fixturedef.cached_result is not None:
                yield owner, fixturedef.cached_result[0]
            yield owner, [part for part in vars(fixturedef).values() if type(part) is list]
        # The last of its tests may have been the first to need it.
        for owner in self._over:
            yield owner, owner.left()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        # Judged after the yield: what a stopped run (-x) left standing is torn down inside this hook.
        result = yield
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[ATTRIBUTE] = self.verdict.late()
        return result
