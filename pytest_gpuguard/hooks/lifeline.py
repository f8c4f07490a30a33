"""How a process in which tests run ends: by us when a test cannot be ended, or nobody awaits its reports.

What it has said is on its page (:mod:`~pytest_gpuguard.track.vitals`) whatever ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.ended import TestEnded
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.track.lastwords import LastWords, Timer
from pytest_gpuguard.track.vitals import Vitals
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.hooks.dossier import Dossier
    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.track.scope import Scene
    from pytest_gpuguard.track.stall import Stall

__all__ = ["TIMER_LATER", "WATCHER_LATER", "Lifeline"]

#: Seconds after `stall-end` at which the controller ends a worker whose monitor cannot run, and at which the
#: timer ends a process that has no controller. Before both, the process's own monitor has tried.
WATCHER_LATER, TIMER_LATER = 9.0, 15.0


class Lifeline(Plug):
    """What keeps a process in touch with who watches it.

    Parameters
    ----------
    config, settings, folder, worker
        As of the guard.
    scene, dossier
        What is running, and what is known of it.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        folder: RunFolder | None,
        worker: str,
        scene: Scene,
        dossier: Dossier,
    ) -> None:
        self._settings, self._folder, self._worker = settings, folder, worker
        self._scene, self._dossier = scene, dossier
        self._distributed = hasattr(config, "workerinput")
        # Bound here: a test may put something else in its place, and would be an orphan.
        self._parent_now = os.getppid
        self._parent = self._parent_now()
        self._orphaned: tuple[float, object] | None = None
        self._leased = False
        #: The page; there is none without workers.
        self.vitals: Vitals | None = None
        self._timer: Timer | None = None
        #: Asked at each phase that ended with an exception: they complete its report.
        self.failed: list[Callable[[pytest.TestReport, BaseException], None]] = []
        #: Says in the terminal why the run ends here, and writes its record; there is none in a worker.
        self.cut_off: Callable[[dict[str, Any], list[dict[str, Any]], str], None] | None = None

    def install(self, config: pytest.Config) -> None:
        """Make the page and be ready for any end; undone when the configuration ends."""
        theirs = config.pluginmanager.hasplugin("faulthandler") and config.getini("faulthandler_timeout")
        timed = self._settings.stall_end > 0 and float(theirs or 0.0) == 0
        if self._distributed and self._folder is not None:
            with contextlib.suppress(OSError):
                words = LastWords(self._folder.vital(self._worker, "stacks"))
                config.add_cleanup(words.install())
                self.vitals = Vitals(self._folder.vital(self._worker, "page"), words.signal)
                self._timer = Timer(words.file) if timed else None
                config.pluginmanager.register(_Phases(self.phase), "gpuguard-phases")
        elif timed:
            # Nothing is captured now: this is where people look, whatever the tests do to theirs.
            self._timer = Timer(os.fdopen(os.dup(2), "wb", buffering=0))
        if self._timer is not None:
            config.add_cleanup(self._timer.cancel)

    # What the monitor's thread does.

    def look(self, now: float) -> None:
        """Show that the monitor runs, and see whether anybody is left to report to."""
        self.beat(now)
        if self._distributed and self._parent_now() != self._parent:
            self._end_as_an_orphan(now)

    def beat(self, now: float) -> None:
        """Show that this process is alive, and put off its end."""
        if self.vitals is not None:
            self.vitals.look(now)
        if self._timer is not None:
            since = self._scene.progress if self._scene.progress is not None else now
            self._timer.keep(now, max(since + self._settings.stall_end, now) + TIMER_LATER)

    def _end_as_an_orphan(self, now: float) -> None:
        """End after the phase that runs, or the settle time: no report can be sent, leases are waited for."""
        at_work = self._scene.owner, self._scene.phase
        if self._orphaned is None:
            self._orphaned = now, at_work
        since, then = self._orphaned
        if now - since >= self._settings.settle or at_work != then:
            os._exit(pytest.ExitCode.INTERRUPTED)

    @property
    def pace(self) -> float:
        """Seconds until it wants to look again."""
        return 0.02 if self._orphaned else 1.0

    def kill(self, stall: Stall, text: str) -> None:
        """End this process, whose test cannot be ended in any other way; say why before."""
        facts, deaths = self._dossier.record(stall), self._dossier.deaths()
        if self.cut_off is not None:
            try:
                self.cut_off(facts, deaths, f"{text}\n\n{self._dossier.stacks}")
            finally:
                os._exit(pytest.ExitCode.TESTS_FAILED)
        with contextlib.suppress(OSError):  # as for the dossier: no wait may go unbounded for that
            if self._folder is not None:
                why = {"text": text, "stacks": self._dossier.stacks, "stall": facts}
                self._folder.write_end(self._worker, why | {"deaths": deaths})
        os.kill(os.getpid(), signal.SIGKILL)

    # What is on the page.

    def phase(self, phase: str) -> None:
        """Note that a phase of a test begins."""
        assert self.vitals is not None
        self.vitals.say("phase", phase)
        if phase == "setup":
            leases = "\n".join(self._dossier.leases())
            if leases or self._leased:
                self.say("leases", leases)
                self.say("last", "")
            self._leased = bool(leases)

    def say(self, slot: str, text: str) -> None:
        """Put a text on the page."""
        if self.vitals is not None:
            self.vitals.say(slot, sound(text))

    def used(self, amounts: Mapping[str, int], line: str) -> None:
        """Note the latest use of what is budgeted."""
        if self.vitals is not None:
            self._leased = True
            from pytest_gpuguard.budget.wording import amounts_text

            self.say("last", f"{amounts_text(amounts)} at {line}")

    def complete(self, report: Any, error: BaseException) -> None:
        """Add to a report what is known of the exception that its phase ended with."""
        stacks = error.stacks if isinstance(error, TestEnded) else ""
        # In the representation itself, since sections of a report do not reach JUnit.
        if stacks and hasattr(report.longrepr, "addsection"):
            report.longrepr.addsection("gpuguard: stacks of the other threads", stacks)
        for look in self.failed:
            look(report, error)

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        # pytest's own implementation has just cancelled the one timer, and with it ours. The teardown may
        # take the GIL before the monitor looks again.
        if self._timer is not None:
            self._timer.lost()
            self.beat(clock.monotonic())


class _Phases(Plug):
    """Says each phase of a test that begins; there where there is a page."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._say("setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._say("call")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._say("teardown")
