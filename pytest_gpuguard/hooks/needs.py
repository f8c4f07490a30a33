"""Skips what the devices at hand cannot do, with the evidence; works without the plugin being active too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.markers import anything_declared, carriers, demand_of, names_in_force
from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from pytest_gpuguard.plan.demand import Demand

__all__ = ["Needs", "lacking"]


def lacking(demand: Demand) -> str | None:
    """Return what ``demand`` needs that no device of this process has, or None."""
    from pytest_gpuguard.devices.discovery import discovered
    from pytest_gpuguard.devices.trim import simulated
    from pytest_gpuguard.plan.needs import unmet

    return unmet(demand, simulated(os.environ.get("NUMBA_ENABLE_CUDASIM")), discovered)


class Needs(Plug):
    """Looks at a suite once: where nothing asks for a device, nothing is looked at while the tests run."""

    # When every other hook, of whatever conftest, has added its marks.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        config = session.config
        names = names_in_force(config)
        if anything_declared() or any(carriers(session, names)):
            config.pluginmanager.register(_Looking(names), "gpuguard-needs-looking")


class _Looking(Plug):
    """What marks and fixtures say of devices, looked at before a test or fixture is set up."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        try:
            demand = demand_of(item, self._names)
        except pytest.UsageError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        reason = lacking(demand) if demand is not None else None
        if reason is not None:
            pytest.skip(reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
        from pytest_gpuguard.plan.declared import declared_by

        declared = declared_by(fixturedef.func)
        reason = lacking(declared.demand) if declared is not None else None
        if reason is None:
            return
        try:
            pytest.skip(f"fixture {fixturedef.argname} {reason}")
        except pytest.skip.Exception as skip:
            # Kept as pytest keeps the error of a fixture; without it the fixture could not be finished.
            fixturedef.cached_result = (None, fixturedef.cache_key(request), (skip, skip.__traceback__))
            raise
