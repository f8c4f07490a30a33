"""Take away what earlier boots and idle pools left; nothing that somebody may be in.

In a run only the first participant of a pool sweeps, so a busy host pays nothing. Each pool is emptied under
its exclusive folder lock, which nobody gets while anyone is in.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import filelock

from pytest_gpuguard.ledger.errors import LedgerUnsafe
from pytest_gpuguard.ledger.layout import EXCLUSIVE, LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["IDLE_SECONDS", "OURS", "Leftover", "clean", "sweep"]

IDLE_SECONDS = 7 * 24 * 3600.0
OURS = re.compile(
    r"ledger|mutex|limits\.json(\.[0-9a-f]{8})?|exclusive\.lock|r\.[a-z0-9._-]{1,64}|[ws]\.\d{1,4}"
)
_BOOT = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A pool that nobody is in.

    Parameters
    ----------
    path
        Its folder.
    idle
        Seconds since somebody last went in; None for a pool of an earlier boot.
    foreign
        Names of what lies in it and is not ours: it stays, and the folder with it.
    gone
        It was taken away.
    """

    path: Path
    idle: float | None
    foreign: tuple[str, ...]
    gone: bool


def sweep(
    user: Folder, generation: Folder, boot: str, own: Folder, seam: Callable[[str], None] = lambda _: None
) -> None:
    """Remove pools of other boots, and pools of this one that were idle for :data:`IDLE_SECONDS`.

    Parameters
    ----------
    user, generation, own
        The folders of the user, of this boot, and the pool just entered.
    boot
        Name of ``generation``.
    """
    os.utime(LEDGER, dir_fd=own.fd, follow_symlinks=False)
    for _ in _pools(user, generation, boot, IDLE_SECONDS, remove=True, seam=seam):
        pass


def clean(
    user: Folder, generation: Folder | None, boot: str, idle: float, *, remove: bool
) -> tuple[Leftover, ...]:
    """Return pools of other boots, and pools of this one that were idle for ``idle`` seconds.

    Parameters
    ----------
    generation
        The folder of this boot, if there is one.
    remove
        Take them away.
    """
    return tuple(_pools(user, generation, boot, idle, remove=remove))


def _pools(
    user: Folder,
    generation: Folder | None,
    boot: str,
    idle: float,
    *,
    remove: bool,
    seam: Callable[[str], None] = lambda _: None,
) -> Iterator[Leftover]:
    now = _touched_now(user)
    for name in sorted(user.names()):
        if name != boot and _BOOT.fullmatch(name):
            with suppress(OSError, LedgerUnsafe), closing(user.enter(name, create=False)) as other:
                yield from _idle_ones(other, None, 0.0, remove=remove, seam=seam)
                if remove:
                    os.rmdir(name, dir_fd=user.fd)
    if generation is not None:
        yield from _idle_ones(generation, now, idle, remove=remove, seam=seam)


def _touched_now(folder: Folder) -> float:
    """Return the file system's own idea of now, so that no clock of ours has to agree with it."""
    os.utime(folder.fd)
    return os.fstat(folder.fd).st_mtime


def _idle_ones(
    parent: Folder, now: float | None, idle: float, *, remove: bool, seam: Callable[[str], None]
) -> Iterator[Leftover]:
    for name in sorted(parent.names()):
        with suppress(OSError, LedgerUnsafe), closing(parent.enter(name, create=False)) as pool:
            # Whoever is in holds the folder's lock, our own pool included.
            fcntl.flock(pool.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unused = None if now is None else max(0.0, now - _last_use(pool))
            if unused is None or unused >= idle:
                gone = remove and _remove(parent, name, pool, seam)
                foreign = tuple(sorted(entry for entry in pool.names() if not OURS.fullmatch(entry)))
                yield Leftover(pool.path, unused, foreign, gone)


def _remove(parent: Folder, name: str, pool: Folder, seam: Callable[[str], None]) -> bool:
    if _exclusively_used(pool):
        return False
    for entry in pool.names():
        if OURS.fullmatch(entry):
            seam("clean: before unlink")
            os.unlink(entry, dir_fd=pool.fd)
    try:
        os.rmdir(name, dir_fd=parent.fd)
    except OSError:  # something in it is not ours
        return False
    return True


def _exclusively_used(pool: Folder) -> bool:
    """Return whether somebody holds the whole pool: those who must do without ranges lock no folder."""
    try:
        fd = pool.open_file(EXCLUSIVE)
    except FileNotFoundError:
        return False
    try:
        return not filelock.lock_descriptor(fd, blocking=False)
    finally:
        os.close(fd)


def _last_use(pool: Folder) -> float:
    """Return when somebody last went into ``pool``; without a ledger it is the folder that was touched."""
    try:
        return os.stat(LEDGER, dir_fd=pool.fd, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return os.fstat(pool.fd).st_mtime
