"""What a CUDA error that stays does to a run: the test in whose window it came is named, its process ends.

All that comes later in that process would fail innocently. Under xdist the worker ends between this test and
the next, and others run the rest; without it the run ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.devices.health import glance, unusable
from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.track.scope import Scene

__all__ = ["LEAVING", "StickyErrors"]

#: User property in a report of a test after which its worker ends by itself: the worker's death is no
#: failure, the test is not run again, and all others of that worker run elsewhere.
LEAVING = "gpuguard_leaving"

_CODE = "GPG403"
# Seconds. A test that failed may have left work that never ends, which is for the watch of stalls.
_PATIENCE = 2.0
_MOST_NAMED = 5
#: Kinds of leak of which nothing can be said: of a broken context every free fails.
_OF_THE_CONTEXT = frozenset({"pinned", "device", "stream", "event"})


class StickyErrors:
    """Looks for an error that stays, after each test and wherever one failed.

    Parameters
    ----------
    config
        The run's configuration.
    worker
        Name of this process.
    started
        The run's start in monotonic seconds.
    scene
        What is running.
    """

    def __init__(self, config: pytest.Config, worker: str, started: float, scene: Scene) -> None:
        self._worker, self._started, self._scene = worker, started, scene
        self._plugins, self._distributed = config.pluginmanager, hasattr(config, "workerinput")
        #: The error, once there is one.
        self._error = 0
        self._found: dict[str, Any] | None = None
        # Whether this process, or the run, ends after the test that is over.
        self._leaves = False
        #: Returns the running test.
        self.running: Callable[[], pytest.Item | None] = lambda: None
        #: Returns the tests that have not begun; there is none in a worker.
        self.left: Callable[[], list[str]] = list

    @property
    def _name(self) -> str:
        from pytest_gpuguard.devices.contexts import STICKY

        return f"{STICKY[self._error]} ({self._error})"

    def look(self, report: pytest.TestReport, error: BaseException) -> None:
        """See whether what failed a phase has left the context unusable, and say so in the report."""
        if self._error or isinstance(error, pytest.skip.Exception) or not self._check(report):
            return
        text = f"{_CODE}: {self._name}: nothing in this process can use CUDA any more\n{self._consequence}"
        # In the representation itself, since sections of a report do not reach JUnit.
        shown: Any = report.longrepr
        if hasattr(shown, "addsection"):
            shown.addsection("gpuguard: the CUDA context is unusable", text)

    def _check(self, report: pytest.TestReport) -> bool:
        self._error = unusable(_PATIENCE)
        if self._error:
            self._found = {
                "kind": "sticky",
                "code": _CODE,
                "worker": self._worker,
                "nodeid": report.nodeid,
                "error": f"{self._name} came to light in its {report.when}",
                "at": clock.monotonic() - self._started,
            }
        return bool(self._error)

    @property
    def _consequence(self) -> str:
        if self._scene.last:
            return "no test follows in it"
        if self._distributed:
            return "the worker ends after this test; its other tests run elsewhere"
        return "the run ends after this test"

    def stirred(self) -> bool:
        """Return whether there is an error that stays, as far as one knows without waiting."""
        return bool(self._error or glance())

    def judge(self, report: pytest.TestReport, *, again: bool) -> list[dict[str, Any]]:
        """Return the fault that is to be told with a test that is over, if there is one.

        Parameters
        ----------
        report
            Of its teardown.
        again
            Whether the test is run again, here and now; then nobody leaves before that is over.
        """
        if not self._error and glance():
            # Its error was expected, or swallowed.
            self._check(report)
        if not self._error or again or self._leaves:
            return []
        # Somebody may have mended it since: a reset of the device.
        self._error = self._error and unusable(_PATIENCE)
        if not self._error:
            self._found = None
            return []
        assert self._found is not None
        self._leaves = not self._scene.last
        if self._leaves:
            self._plugins.register(_Leaving(self), "gpuguard-leaving")
            if self._distributed:
                report.user_properties.append((LEAVING, self._name))
        return [self._found | {"what": self._told()}]

    def _told(self) -> str:
        if self._scene.last:
            return "no test followed in this process"
        if self._distributed:
            return f"{self._worker} ended after this test, its other tests ran elsewhere"
        left = self.left()
        more = f" and {len(left) - _MOST_NAMED} more" if left[_MOST_NAMED:] else ""
        return (
            f"the run ended here, {len(left)} tests did not run: {', '.join(left[:_MOST_NAMED])}{more}; "
            "with pytest-xdist (-n 1) only the worker ends"
        )

    def believable(self, leaks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the leaks without those of a broken context, which frees nothing any more."""
        return [leak for leak in leaks if leak["kind"] not in _OF_THE_CONTEXT] if self._error else leaks

    def leave(self) -> None:
        """End this process, or the run."""
        item = self.running()
        assert item is not None
        if self._distributed:
            self._end_fixtures(item)
            _save_coverage()
            os._exit(pytest.ExitCode.TESTS_FAILED)
        item.session.shouldfail = f"{_CODE}: {self._name}: {len(self.left())} tests did not run"

    def _end_fixtures(self, item: pytest.Item) -> None:
        """End the fixtures of wider scopes: nobody asks them to afterwards, and they may own processes."""
        # Of a test that is over other plugins have forgotten what they need.
        others = [plugin for name, plugin in self._plugins.list_name_plugin() if name != "runner"]
        end = self._plugins.subset_hook_caller("pytest_runtest_teardown", others)
        with contextlib.suppress(Exception, pytest.fail.Exception, pytest.skip.Exception):
            end(item=item, nextitem=None)


class _Leaving(Plug):
    """The end of the test that left the context unusable; there once there is one."""

    def __init__(self, errors: StickyErrors) -> None:
        self._errors = errors

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        self._errors.leave()


def _save_coverage() -> None:
    """Save what coverage has measured, which else does so at an orderly end alone."""
    current = getattr(getattr(sys.modules.get("coverage"), "Coverage", None), "current", None)
    measured = current() if current is not None else None
    if measured is not None:
        measured.stop()
        measured.save()
