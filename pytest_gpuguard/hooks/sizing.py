"""``-n auto``: never more workers than xdist counts, fewer where more could not work at once.

xdist asks before pytest is configured, let alone has collected: what tests need is known from runs before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.devices.discovery import Device
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.history import History
    from pytest_gpuguard.plan.sizing import Room

__all__ = ["SIZED", "workers_of_use"]

#: Why there are as many workers as there are, for the header.
SIZED = pytest.StashKey[str]()

_VARIABLE = "PYTEST_XDIST_AUTO_NUM_WORKERS"


def workers_of_use(config: pytest.Config, workers: int) -> int:
    """Return how many of ``workers`` there is room for; a number that somebody gives stays."""
    asked = f"for -n {config.getoption('numprocesses')}"
    giver = _VARIABLE if os.environ.get(_VARIABLE, "").isdigit() else _other_giver(config)
    if giver:
        config.stash[SIZED] = f"{_number(workers)} {asked}, as {giver} says"
        return workers
    # The first of equals says why.
    room = min(_rooms(config, workers), key=lambda room: room.workers, default=None)
    if room is None or room.workers >= workers:
        config.stash[SIZED] = f"{_number(workers)} {asked}, as xdist counts: each has room"
        return workers
    config.stash[SIZED] = f"{_number(room.workers)} {asked}, not {workers}: {room.why}"
    return room.workers


def _number(workers: int) -> str:
    return f"{workers} worker{'s' * (workers != 1)}"


def _other_giver(config: pytest.Config) -> str | None:
    """Return the module of a project or plugin that answers this hook itself."""
    implementations: Any = config.hook.pytest_xdist_auto_num_workers.get_hookimpls()
    modules = [implementation.function.__module__ for implementation in implementations]
    names = [name for name in modules if name.partition(".")[0] not in {"xdist", "pytest_gpuguard"}]
    return names[-1] if names else None


def _rooms(config: pytest.Config, most: int) -> Iterator[Room]:
    from pytest_gpuguard.budget.limits import default_limits, usable_processors
    from pytest_gpuguard.hooks.host import SLOTS
    from pytest_gpuguard.plan.sizing import on_any_device, room_by_devices, room_by_needs, room_by_processors

    settings = resolve(config)
    yield room_by_processors(usable_processors())
    devices, history = _devices(settings), _history(config)
    claims = {nodeid: on_any_device(amounts) for nodeid, amounts in history.claims.items()}
    limits = default_limits() | dict(settings.budget or {})
    each = limits.pop("gpu", None)
    by_uuid = {device.uuid: device.total * 9 // 10 if each is None else each for device in devices}
    largest = max((amounts.get("gpu", 0) for amounts in claims.values()), default=0)
    room = room_by_devices(devices, by_uuid, settings.context, largest)
    if room is not None:
        yield room
        limits |= {"gpu": sum(by_uuid.values()), "gpu.slots": SLOTS * len(by_uuid)}
    room = room_by_needs(claims, history.seconds, limits, most)
    if room is not None:
        yield room


def _devices(settings: Settings) -> list[Device]:
    from pytest_gpuguard.hooks.placement import shared_out

    return [] if settings.devices == "none" else shared_out(settings.devices)[0]


def _history(config: pytest.Config) -> History:
    """Return what runs before have measured; pytest opens its cache later than this."""
    from pytest_gpuguard.hooks.history import remembered_in
    from pytest_gpuguard.plan.history import History

    if config.getoption("cacheclear", False):
        return History()
    try:
        folder = Path(os.path.expandvars(config.getini("cache_dir")))
    except ValueError:  # the cache provider is switched off
        return History()
    return remembered_in(config.rootpath / folder)
