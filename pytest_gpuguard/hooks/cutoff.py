"""A run without workers that has to end at once, because its test cannot be ended: what is said and kept."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["CutOff"]

_MOST_NAMED = 20


class CutOff(Plug):
    """Knows what has not run so far.

    Parameters
    ----------
    config
        The run.
    finish
        Writes the record of a run that is cut off, given the stall and the deaths of threads in its test.
    begun
        Returns the tests that have begun.
    """

    def __init__(
        self,
        config: pytest.Config,
        finish: Callable[[dict[str, Any], list[dict[str, Any]]], None],
        begun: Callable[[], Collection[str]],
    ) -> None:
        self._config, self._finish, self._begun = config, finish, begun
        self._items: Sequence[pytest.Item] = ()

    def left(self) -> list[str]:
        """Return the tests that have not begun."""
        begun = self._begun()
        return [item.nodeid for item in self._items if item.nodeid not in begun]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = session.items

    def __call__(self, stall: dict[str, Any], deaths: list[dict[str, Any]], text: str) -> None:
        """Write the record and say everything in the terminal, beside the test that hangs."""
        try:
            self._finish(stall, deaths)
        finally:
            capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
            # The test's output is captured on the descriptors, so the terminal's goes the same way.
            with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
                self._tell(text)

    def _tell(self, text: str) -> None:
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.section("gpuguard: the run ends here", red=True)
            reporter.write_line(text)
            reporter.write_line(self._not_run(), red=True, bold=True)
            reporter.flush()

    def _not_run(self) -> str:
        names = self.left()
        lines = [f"gpuguard: {len(names)} tests did not run" + (":" if names else "")]
        lines += [f"  {name}" for name in names[:_MOST_NAMED]]
        if len(names) > _MOST_NAMED:
            lines.append(f"  and {len(names) - _MOST_NAMED} more")
        lines.append("  with pytest-xdist (-n 1) only the worker ends, and the run goes on")
        return "\n".join(lines)
