"""Which roles this process plays: tests run here, the run is summed up here, or both."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from pytest_gpuguard.hooks.gather import Gather
from pytest_gpuguard.hooks.guard import Guard
from pytest_gpuguard.hooks.runfolder import RunFolder
from pytest_gpuguard.hooks.settings import resolve

if TYPE_CHECKING:
    import pytest

__all__ = ["activate"]


def activate(config: pytest.Config) -> None:
    """Register the roles of this process."""
    settings = resolve(config)
    given = getattr(config, "workerinput", None)
    if given is not None:
        folder = RunFolder.join(given.get("gpuguard_folder", ""))
        _guard(
            config,
            Guard(
                config, settings, folder, given["workerid"], given.get("gpuguard_started", time.monotonic())
            ),
        )
        return
    run = time.strftime("%Y%m%d-%H%M%S-") + uuid.uuid4().hex[:6]
    folder = RunFolder.create(config, run)
    guard = None
    # xdist's controller runs no test: nothing is patched there.
    if config.getoption("dist", "no") == "no":
        guard = Guard(config, settings, folder, "main", time.monotonic())
        _guard(config, guard)
    config.pluginmanager.register(Gather(config, settings, folder, run, guard), "gpuguard-gather")


def _guard(config: pytest.Config, guard: Guard) -> None:
    guard.install(config)
    config.pluginmanager.register(guard, "gpuguard-guard")
