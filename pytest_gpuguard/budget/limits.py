"""How much there is to share: from the host's memory and the container's limits, or set by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["cgroup_limits", "default_limits", "device_limits", "pinned_limit", "usable_processors"]

_MIB = 1 << 20
_STEP = 64 * _MIB
# Registration has failed on real machines once some 65,000 regions existed, summed over all processes.
_PINNED_REGIONS = 32_000
_WSL2_PINNED = 512 * _MIB
# cgroup v1 writes "no limit" as a number near 2^63.
_NO_LIMIT = 1 << 60
_CGROUPS, _MEMBERSHIP, _RELEASE = (
    Path("/sys/fs/cgroup"),
    Path("/proc/self/cgroup"),
    Path("/proc/sys/kernel/osrelease"),
)


def default_limits(
    total: int | None = None,
    *,
    cgroups: Path = _CGROUPS,
    membership: Path = _MEMBERSHIP,
    release: Path = _RELEASE,
) -> dict[str, int]:
    """Return the limits that hold when nobody set any.

    From limits, not from current usage: all workers must compute the same number.

    Parameters
    ----------
    total
        Bytes of memory of the host; asked of psutil by default.
    cgroups, membership, release
        Where the kernel shows them.
    """
    if total is None:
        import psutil

        total = int(psutil.virtual_memory().total)
    least = min([total, *cgroup_limits(cgroups, membership)])
    return {"pinned": pinned_limit(least, wsl2=_is_wsl2(release)), "pinned.regions": _PINNED_REGIONS}


def pinned_limit(memory: int, *, wsl2: bool = False) -> int:
    """Return an eighth of ``memory`` in steps of 64 MiB, one step at least; under WSL2 512 MiB at most."""
    share = max(_STEP, memory // 8 // _STEP * _STEP)
    return min(share, _WSL2_PINNED) if wsl2 else share


def device_limits(totals: Mapping[str, int]) -> dict[str, int]:
    """Return the limits of devices: nine tenths of the memory of each, by uuid.

    Parameters
    ----------
    totals
        Bytes of memory of each device, by its uuid.
    """
    return {f"gpu.{uuid.lower()}": total * 9 // 10 for uuid, total in totals.items()}


def cgroup_limits(cgroups: Path, membership: Path) -> list[int]:
    """Return the memory limits of our control group and all above it, of versions 1 and 2.

    Parameters
    ----------
    cgroups
        Where the groups are mounted.
    membership
        ``/proc/self/cgroup``, or its like.
    """
    texts = (
        line
        for mount, group, version in _groups(cgroups, membership, "memory")
        for folder in _folders(mount, group)
        for line in _lines(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))[:1]
    )
    return [int(text) for text in texts if text.isdigit() and int(text) < _NO_LIMIT]


def usable_processors(
    affinity: int | None = None, *, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP
) -> float:
    """Return how many processors this process may keep busy.

    Parameters
    ----------
    affinity
        Processors that it may run on; asked of the system by default.
    cgroups, membership
        Where the kernel shows what control groups allow.
    """
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas: list[float] = []
    for mount, group, version in _groups(cgroups, membership, "cpu"):
        for folder in _folders(mount, group):
            if version == 2:
                words = " ".join(_lines(folder / "cpu.max")[:1]).split()
            else:
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                words = [line for name in names for line in _lines(folder / name)[:1]]
            # "max" and -1 are no limit.
            if len(words) == 2 and all(word.isdigit() and int(word) for word in words):
                quotas.append(int(words[0]) / int(words[1]))
    return min([float(affinity), *quotas])


def _groups(cgroups: Path, membership: Path, controller: str) -> Iterator[tuple[Path, str, int]]:
    """Yield mount, group and version of the control groups that may limit us."""
    for line in _lines(membership):
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            # On a hybrid host the version 2 tree hangs beside those of version 1.
            yield cgroups, path, 2
            yield cgroups / "unified", path, 2
        elif controller in controllers.split(","):
            yield cgroups / controller, path, 1


def _folders(mount: Path, group: str) -> list[Path]:
    """Return the folders from ``group`` up to ``mount``, of those that can be seen from here."""
    here = Path(os.path.normpath(mount / group.lstrip("/")))
    if not here.is_relative_to(mount):
        here = mount
    return [here, *(parent for parent in here.parents if parent.is_relative_to(mount))]


def _is_wsl2(release: Path) -> bool:
    return any("microsoft" in line.lower() for line in _lines(release))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
