"""Which probes watch a process: those of the kinds that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.track.handles import CODES, HandleProbe
from pytest_gpuguard.track.processes import ProcessProbe
from pytest_gpuguard.track.procfs import Newest
from pytest_gpuguard.track.readers import ReaderProbe
from pytest_gpuguard.track.segments import SegmentProbe
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.tasks import TaskProbe
from pytest_gpuguard.track.threads import ThreadProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from pytest_gpuguard.track.living import Thing
    from pytest_gpuguard.track.probe import Probe
    from pytest_gpuguard.track.scope import Scene

__all__ = ["probes_for", "things_of"]


def probes_for(scene: Scene, kinds: frozenset[str], config: pytest.Config) -> tuple[ThreadProbe, list[Probe]]:
    """Return the probe of threads, which others need too, and all that judge ``kinds``."""
    threads = ThreadProbe(scene, kinds)
    probes: list[Probe] = [threads]
    newest = Newest()
    if "thread" in kinds:
        probes.append(TaskProbe(scene, newest))
    if "process" in kinds:
        probes.append(ProcessProbe(scene, newest))
    handles = kinds & CODES.keys()
    if handles:
        probes.append(HandleProbe(scene, handles, lambda: threads.busy))
    if kinds & {"pinned", "device"}:
        probes.append(ReaderProbe(scene, kinds))
    # What is seen on request only is imported then.
    if "fd" in kinds:
        from pytest_gpuguard.track.descriptors import DescriptorProbe
        from pytest_gpuguard.track.targets import Targets

        targets = Targets(Places(config.rootpath), config.getoption("basetemp", None))
        probes.append(DescriptorProbe(scene, targets))
    if "memory" in kinds:
        from pytest_gpuguard.track.memory import MemoryProbe

        probes.append(MemoryProbe(scene))
    if "shm" in kinds:
        probes.append(SegmentProbe(scene))
    for others in config.hook.pytest_gpuguard_probes(config=config, scene=scene):
        probes += others
    return threads, probes


def things_of(probes: Iterable[Probe]) -> Callable[[], Iterable[Thing]]:
    """Return what returns the buffers, streams and events that are alive."""
    return next((probe.living.all for probe in probes if isinstance(probe, HandleProbe)), tuple)
