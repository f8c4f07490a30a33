"""Which probes watch a process: those of the kinds that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.track.handles import CODES, HandleProbe
from pytest_gpuguard.track.threads import ThreadProbe

if TYPE_CHECKING:
    from pytest_gpuguard.track.probe import Probe
    from pytest_gpuguard.track.scope import Scene

__all__ = ["probes_for"]


def probes_for(scene: Scene, kinds: frozenset[str]) -> tuple[ThreadProbe, list[Probe]]:
    """Return the probe of threads, which others need too, and all that judge ``kinds``."""
    threads = ThreadProbe(scene, kinds)
    probes: list[Probe] = [threads]
    handles = kinds & CODES.keys()
    if handles:
        probes.append(HandleProbe(scene, handles, lambda: threads.busy))
    return threads, probes
