"""The controller's role in scheduling: asks workers for groups and needs, hands xdist a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.history import remembered
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.sticky import LEAVING
from pytest_gpuguard.hooks.transport import collect, is_here, send_to
from pytest_gpuguard.hooks.ungrouped import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.suite import Offer

__all__ = ["Scheduling"]

_OURS = frozenset({"load", "loadgroup", "loadscope", "loadfile", "worksteal"})


class Scheduling(Plug):
    """What is known of a distributed run beside what xdist tells its scheduler.

    Parameters
    ----------
    config, settings
        Of the controller.
    folder
        Of the run, where workers publish.
    say
        Tells people what they should know.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._config, self._folder, self.say = config, folder / "offers", say
        self._budget = settings.budget
        self._wanted = settings.scheduler == "auto" and config.getoption("dist", "no") in _OURS
        self._by_params = settings.group_by == "session-params"
        self._shared: list[str] | None = None
        self._aside = False
        self._log: Any = None
        self.workers = self.failures = 0
        self.begun: set[str] = set()
        self.leaving: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: list[Any]) -> None:
        self.workers = len(specs)
        remote = [spec for spec in specs if not is_here(spec)]
        if remote and self._wanted:
            self._wanted = False
            self.say(
                f"{len(remote)} of {len(specs)} workers are on other hosts: groups and needs of tests are "
                "not scheduled, each host's leases keep its own tests apart"
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._wanted:
            if self._shared is None and self._by_params:
                self._shared = remembered(self._config).shared
            send_to(node, self._folder, self._shared)
        else:
            tell(node, self._config.getoption("dist", "no"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if not self._wanted or self._aside:
            return None
        others = [
            impl.plugin_name
            for impl in config.hook.pytest_xdist_make_scheduler.get_hookimpls()
            if impl.plugin is not self and impl.plugin_name != "dsession"
        ]
        if others:
            self.say(
                f"{others[-1]} brings a scheduler of its own, which is used: needs of tests are not scheduled"
            )
            return None
        from pytest_gpuguard.hooks.scheduler import GpuguardScheduling

        self._log = log
        return GpuguardScheduling(config, self)

    def limits(self) -> dict[str, int]:
        """Return the limits of the budget on this host."""
        from pytest_gpuguard.hooks.host import Host

        return Host(self._budget).limits

    def another(self) -> Any:
        """Return xdist's own scheduler: asked again, without us."""
        self._aside = True
        if self._config.getoption("dist") == "loadgroup":
            # There are no groups, and a crash under the one of that name hangs or is repeated.
            from xdist.scheduler import LoadScheduling

            return LoadScheduling(self._config, self._log)
        return self._config.hook.pytest_xdist_make_scheduler(config=self._config, log=self._log)

    def offer(self, worker: str) -> Offer | None:
        """Return what a worker has published."""
        return collect(self._folder, worker)

    # Sent by the worker at once, before whatever then happens to it.
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.begun.add(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures += 1
        if report.user_properties and any(name == LEAVING for name, _ in report.user_properties):
            self.leaving.add(report.nodeid)
