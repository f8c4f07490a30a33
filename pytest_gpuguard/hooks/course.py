"""What is done for every test of a suite: how it goes is noted, and whether it may have left anything.

Each line is counted, and so is each place in memory that it comes to: of what these few microseconds are,
most is waiting for memory that the test has driven out of the caches. So all of it is here, in an object with
little else. What most tests have no need of has hooks of its own, which are there on demand only; what is of
interest when something has happened is looked for then, by :class:`~pytest_gpuguard.hooks.verdict.Verdict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.clock import monotonic as _now
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.track.scope import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_gpuguard.hooks.keeping import Keeping
    from pytest_gpuguard.hooks.verdict import Verdict
    from pytest_gpuguard.track.scope import Scene
    from pytest_gpuguard.track.tracker import Tracker

__all__ = ["Course"]


class Course(Plug):
    """Follows the tests of one process.

    Parameters
    ----------
    scene
        Is told what is in force.
    tracker
        Tells whether anything has moved.
    keeping
        Keeps when each test began and ended.
    verdict
        Judges the tests of which there is more to tell.
    """

    def __init__(self, scene: Scene, tracker: Tracker, keeping: Keeping, verdict: Verdict) -> None:
        self._scene, self._tracker, self._keeping, self._verdict = scene, tracker, keeping, verdict
        #: The running test, or the last one, and the worst outcome of its phases so far.
        self.item: pytest.Item | None = None
        self.outcome = "passed"
        #: What phases have ended with, until they are reported: a traceback keeps things alive.
        self.errors: dict[str | None, BaseException] = {}
        #: Hear of each report that has not passed.
        self.unusual: list[Callable[[pytest.TestReport], object]] = []
        #: Done once when the test, or this run of it, has ended.
        self.after: list[Callable[[], object]] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        scene, session = self._scene, item.session
        failed, scene.last, self.outcome = session.testsfailed, nextitem is None, "passed"
        self.begin(item)
        try:
            result = yield
            if session.testsfailed != failed and self.outcome == "passed":
                # By somebody who needs no exception for that, so that there was nothing to hear of.
                self.outcome = "failed"
            return result
        finally:
            if scene.owner is not None:
                self.over({})

    def begin(self, item: pytest.Item) -> None:
        """Take note that a test begins, or is run again: then it is a new owner, under the same protocol."""
        self.item, now = item, _now()
        self._scene.begin(Owner("function", self._keeping.begin(item, now)), now)

    def over(self, payload: dict[str, Any]) -> None:
        """Take note that the test, or this run of it, has ended and was judged, or was broken off."""
        # What came after it was asked whether there is anything to tell is told with the next one.
        self._scene.end()
        if self.errors:
            self.errors.clear()
        if self.after:
            self._do_after()
        self._keeping.end(_now(), self.outcome, payload)

    def _do_after(self) -> None:
        while self.after:
            self.after.pop()()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        when, wrong = call.when, call.excinfo
        if wrong is not None:
            self.errors[when] = wrong.value
            self._verdict.demand()
        if when == "teardown":
            if not self._tracker.still() and self._verdict.stirred():
                self._verdict.demand()
            return
        scene = self._scene
        if when == "setup" and wrong is None:
            scene.phase = "call"
        if scene.progress is not None:
            scene.progress = _now()

    # Not by the report of the call: a subtest has one like it, and the test goes on.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._scene.phase = "teardown"

    def note(self, report: pytest.TestReport) -> None:
        """Note how a phase has ended: the worst outcome of a test's phases counts."""
        if report.outcome == "passed":
            return
        scene = self._scene
        scene.rerun |= str(report.outcome) == "rerun"  # an outcome of rerun plugins
        # An expected failure has a traceback like any other.
        scene.failed |= report.failed or scene.rerun or hasattr(report, "wasxfail")
        if self.outcome == "passed" or report.failed:
            self.outcome = str(report.outcome)
        for hear in self.unusual:
            hear(report)
