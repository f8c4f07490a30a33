"""Hooks that others may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.track.probe import Probe
    from pytest_gpuguard.track.scope import Scene

__all__ = [
    "pytest_gpuguard_ignore_leak",
    "pytest_gpuguard_leak",
    "pytest_gpuguard_probes",
    "pytest_gpuguard_trim",
]


@pytest.hookspec
def pytest_gpuguard_trim(config: pytest.Config) -> None:
    """Give back device and page-locked memory that is kept for later use.

    Called whenever a lease begins and before it is given back, so that it is worth what is really free. The
    queues of numba and the pools of CuPy and torch are emptied anyway.
    """


@pytest.hookspec
def pytest_gpuguard_probes(config: pytest.Config, scene: Scene) -> list[Probe] | None:
    """Return probes for further kinds of things; see :class:`pytest_gpuguard.track.probe.Probe`.

    Asked once in every process that runs tests, and for every block of ``leak_scope``. ``scene.born(...)``
    gives the birth of a thing that is being made, ``scene.found(...)`` that of one that was found.
    """


@pytest.hookspec(firstresult=True)
def pytest_gpuguard_ignore_leak(leak: Mapping[str, Any]) -> str | None:
    """Return why a leak is tolerated, or None; ``leak`` is as in the record (``gpuguard schema report``).

    A tolerated leak is counted and listed, but it is no error and is not stopped.
    """


@pytest.hookspec
def pytest_gpuguard_leak(leak: Mapping[str, Any]) -> None:
    """Hear of each leak, tolerated ones too, in the process that ran the test, after its teardown."""
