"""Which roles this process plays: tests run here, the run is summed up here, or both."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.absent import AbsentLibraries
from pytest_gpuguard.hooks.cutoff import CutOff
from pytest_gpuguard.hooks.desk import Desk
from pytest_gpuguard.hooks.gather import Gather, Reports
from pytest_gpuguard.hooks.guard import Guard
from pytest_gpuguard.hooks.history import Remembering
from pytest_gpuguard.hooks.leasing import LEASING, Leasing
from pytest_gpuguard.hooks.misspelt import warn_of_misspelt
from pytest_gpuguard.hooks.modes import Modes
from pytest_gpuguard.hooks.placement import Placement, place_here
from pytest_gpuguard.hooks.runfolder import RunFolder
from pytest_gpuguard.hooks.settings import resolve
from pytest_gpuguard.hooks.transport import Publisher
from pytest_gpuguard.hooks.ungrouped import Ungrouped
from pytest_gpuguard.report.gathered import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from pytest_gpuguard.hooks.settings import Settings

__all__ = ["activate"]


def activate(config: pytest.Config) -> None:
    """Register the roles of this process."""
    settings = resolve(config)
    given = getattr(config, "workerinput", None)
    if given is not None:
        folder = RunFolder.join(given.get("gpuguard_folder", ""))
        started = given.get("gpuguard_started", clock.monotonic())
        settings = _as_the_controller_says(settings, given.get("gpuguard_budget", {}))
        _guard(config, settings, folder, given["workerid"], given.get("gpuguard_run", ""), started)
        return
    warn_of_misspelt(config, settings)
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{uuid.uuid4().hex[:6]}"
    folder = RunFolder.create(config, run)
    guard = placed = None
    # xdist's controller runs no test: nothing is patched there. Not asked by --dist, which can stand in the
    # addopts of a run that has no workers.
    if not config.pluginmanager.hasplugin("dsession"):
        placed = place_here(settings.devices)
        guard = _guard(config, settings, folder, HERE, run, clock.monotonic())
    gather = Gather(config, settings, folder, run, guard)
    gather.notes += [placed] if placed else []
    config.pluginmanager.register(gather, "gpuguard-gather")
    modes = Modes(settings, gather.notes, gather.ran)
    gather.requirements.append(modes.unmet)
    config.pluginmanager.register(modes, "gpuguard-modes")
    config.pluginmanager.register(Placement(config, settings.devices, gather.notes), "gpuguard-placement")
    if config.getoption("collectonly"):
        from pytest_gpuguard.hooks.preview import Preview

        Preview.register(config, settings)
    remembering = Remembering(config, settings, gather.notes, gather.spans)
    config.pluginmanager.register(remembering, "gpuguard-remembering")
    if guard is not None:
        guard.keeping.tell = gather.took
        gather.ask(guard.keeping.ended)
        guard.course.unusual.append(modes.reported)
        begun = guard.running

        def have_begun() -> set[str]:
            return {span.nodeid for span in gather.spans()} | begun()

        guard.lifeline.cut_off = CutOff(config, gather.cut_off, have_begun)
        guard.sticky.left = guard.lifeline.cut_off.left
        config.pluginmanager.register(guard.lifeline.cut_off, "gpuguard-cutoff")
    else:
        from pytest_gpuguard.hooks.crashes import Crashes
        from pytest_gpuguard.hooks.scheduling import Scheduling
        from pytest_gpuguard.hooks.watching import watch

        reports = Reports(gather.reported, remembering.reported, modes.reported)
        config.pluginmanager.register(reports, "gpuguard-reports")
        scheduling = Scheduling(config, settings, folder.path, gather.notes.append)
        config.pluginmanager.register(scheduling, "gpuguard-scheduling")
        crashes = Crashes(config, folder, gather.started, gather.add, gather.died)
        config.pluginmanager.register(crashes, "gpuguard-crashes")
        watch(config, folder, settings.stall_end)


def _as_the_controller_says(settings: Settings, shared: Mapping[str, str]) -> Settings:
    """Return ``settings`` with the controller's budget: a worker may have another environment or folder."""
    folder = shared.get("folder")
    return settings._replace(
        budget_dir=Path(folder) if folder else settings.budget_dir,
        pool=shared.get("pool", settings.pool),
    )


def _guard(
    config: pytest.Config,
    settings: Settings,
    folder: RunFolder | None,
    worker: str,
    run: str,
    started: float,
) -> Guard:
    guard = Guard(config, settings, folder, worker, started)
    desk = Desk(config, settings, guard.scene, worker, run, started)
    leasing = Leasing(config, settings, desk)
    guard.lease_by(leasing)
    config.stash[LEASING] = leasing
    config.add_cleanup(desk.close)
    guard.install(config)
    config.pluginmanager.register(guard.known, "gpuguard-known")
    config.pluginmanager.register(guard.keeping, "gpuguard-keeping")
    Publisher.register(config, leasing)
    Ungrouped.register(config, guard.tracker.note)
    config.pluginmanager.register(AbsentLibraries(), "gpuguard-absent")
    # Registered later, asked earlier: what tests need is known when it is published.
    config.pluginmanager.register(leasing, "gpuguard-leasing")
    config.pluginmanager.register(guard.lifeline, "gpuguard-lifeline")
    config.pluginmanager.register(guard, "gpuguard-guard")
    config.pluginmanager.register(guard.course, "gpuguard-course")
    return guard
