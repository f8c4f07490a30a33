"""The ``pytest11`` entry point: registers options, marks, fixtures and a role; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.hooks import markers
from pytest_gpuguard.hooks.fixtures.closing import gpu_closing, module_gpu_closing, session_gpu_closing
from pytest_gpuguard.hooks.fixtures.device import (
    gpu,
    gpu_event,
    gpu_memory_limit,
    gpu_stream,
    module_gpu_event,
    module_gpu_stream,
    session_gpu_event,
    session_gpu_stream,
)
from pytest_gpuguard.hooks.fixtures.leak_scope import leak_scope
from pytest_gpuguard.hooks.fixtures.lease import gpu_lease
from pytest_gpuguard.hooks.fixtures.pinned import module_pinned_array, pinned_array, session_pinned_array
from pytest_gpuguard.hooks.options import register

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "gpu",
    "gpu_closing",
    "gpu_event",
    "gpu_lease",
    "gpu_memory_limit",
    "gpu_stream",
    "leak_scope",
    "module_gpu_closing",
    "module_gpu_event",
    "module_gpu_stream",
    "module_pinned_array",
    "pinned_array",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_configure",
    "pytest_sessionstart",
    "pytest_xdist_auto_num_workers",
    "session_gpu_closing",
    "session_gpu_event",
    "session_gpu_stream",
    "session_pinned_array",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    register(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_gpuguard.hooks import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


# Before pytest opens its cache: a worker would clear it once more, by now with the folder of the run in it.
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    markers.register(config)
    if hasattr(config, "workerinput") and config.getoption("cacheclear", False):
        from pytest_gpuguard.hooks.settings import is_active

        config.option.cacheclear = not is_active(config)


# Not when pytest is configured: it is so for --help and --markers too, where there is nothing to watch. And
# pytest's own thread hook is in force by now: ours is put before it.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    from pytest_gpuguard.hooks.needs import Needs
    from pytest_gpuguard.hooks.settings import is_active

    session.config.pluginmanager.register(Needs(), "gpuguard-needs")
    if is_active(session.config):
        from pytest_gpuguard.hooks.roles import activate

        activate(session.config)
    elif _is_idle(session.config):
        from pytest_gpuguard.hooks.misspelt import idle_switches, warn

        warn(session.config, idle_switches(session.config))


def _is_idle(config: pytest.Config) -> bool:
    """Return whether switches were given that nobody reads; told once, not by each worker again."""
    given = (str(arg).startswith("--gpuguard-") for arg in config.invocation_params.args)
    return not hasattr(config, "workerinput") and any(given)


# A wrapper: xdist's own number is where we begin. Asked before pytest is configured.
@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    from pytest_gpuguard.hooks.settings import is_active

    workers = yield
    if not is_active(config):
        return workers
    from pytest_gpuguard.hooks.sizing import workers_of_use

    return workers_of_use(config, workers)
