"""``--collect-only``: what the scheduler would go by, and what it would come to; no device is touched."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.hooks.affinity import SessionParams
from pytest_gpuguard.hooks.history import remembered
from pytest_gpuguard.hooks.markers import asked_by, demand_of, names_in_force
from pytest_gpuguard.hooks.offers import suite_of
from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.declared import Asked
    from pytest_gpuguard.plan.demand import Demand
    from pytest_gpuguard.plan.suite import Need

__all__ = ["Preview"]


class Preview(Plug):
    """Prints the plan.

    Parameters
    ----------
    config, settings
        The run.
    params
        Finds what tests share; None where they are not grouped by it.
    """

    def __init__(self, config: pytest.Config, settings: Settings, params: SessionParams | None) -> None:
        self._config, self._settings, self._params = config, settings, params
        self._lines: list[str] = []

    @classmethod
    def register(cls, config: pytest.Config, settings: Settings) -> None:
        """Play the role in a run that only collects."""
        params = None
        if settings.group_by == "session-params":
            params = SessionParams(remembered(config).shared)
            config.pluginmanager.register(params, "gpuguard-session-params")
        config.pluginmanager.register(cls(config, settings, params), "gpuguard-preview")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        from pytest_gpuguard.plan.history import with_peaks
        from pytest_gpuguard.plan.preview import plan_lines

        items, names = session.items, names_in_force(session.config)
        modules = frozenset(str(item.path) for item in items)
        found = ((test, asked_by(item, demand_of(item, names), modules)) for test, item in enumerate(items))
        asked = {test: wanted for test, wanted in found if wanted is not None}
        affinity = self._params.shared(items) if self._params is not None else {}
        suite, kinds = suite_of(items, asked, affinity)
        limits = self._limits()
        ids = [item.nodeid for item in items]
        history = remembered(session.config)
        suite, needs = with_peaks(suite, [_need(asked) for asked in kinds], ids, history.peaks, limits)
        self._lines = plan_lines(suite, needs, limits, ids, history.known(ids))

    def _limits(self) -> dict[str, int]:
        from pytest_gpuguard.budget.limits import default_limits

        return default_limits() | dict(self._settings.budget or {})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._lines:
            terminalreporter.section("gpuguard plan")
            for line in self._lines:
                terminalreporter.write_line(line)


def _need(asked: Asked) -> Need:
    """Return what a test takes, as if all devices were one: which there are is not asked here."""
    from pytest_gpuguard.plan.suite import Need

    kept = {
        f"fixture {entry.name} at {entry.file}:{entry.line}": _amounts(entry.demand) for entry in asked.kept
    }
    return Need(_amounts(asked.own) if asked.own is not None else {}, kept)


def _amounts(demand: Demand) -> dict[str, int]:
    amounts = Counter({"pinned": demand.pinned, "pinned.regions": demand.regions, "gpu": demand.memory})
    amounts.update({name: amount for name, amount in demand.resources.items() if name != "pinned.regions"})
    return {name: amount for name, amount in amounts.items() if amount}
