"""Take away what earlier boots and idle pools left; nothing that somebody may be in.

Only the first participant of a pool sweeps, so a busy host pays nothing. Each pool is emptied under its
exclusive folder lock, which nobody gets while anyone is in.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from pytest_gpuguard.ledger.errors import LedgerUnsafe
from pytest_gpuguard.ledger.layout import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["IDLE_SECONDS", "sweep"]

IDLE_SECONDS = 7 * 24 * 3600.0
_BOOT = re.compile(r"[0-9a-f]{8}")
_OURS = re.compile(
    r"ledger|mutex|limits\.json(\.[0-9a-f]{8})?|exclusive\.lock|r\.[a-z0-9._-]{1,64}|[ws]\.\d{1,4}"
)


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
    now = _touched_now(own)
    for name in user.names():
        if name != boot and _BOOT.fullmatch(name):
            with suppress(OSError, LedgerUnsafe), closing(user.enter(name, create=False)) as other:
                for pool in other.names():
                    _remove_pool(other, pool, idle_before=None, seam=seam)
                os.rmdir(name, dir_fd=user.fd)
    for pool in generation.names():
        if pool != own.path.name:
            _remove_pool(generation, pool, idle_before=now - IDLE_SECONDS, seam=seam)


def _touched_now(pool: Folder) -> float:
    """Return the file system's own idea of now, so that no clock of ours has to agree with it."""
    os.utime(LEDGER, dir_fd=pool.fd, follow_symlinks=False)
    return os.stat(LEDGER, dir_fd=pool.fd, follow_symlinks=False).st_mtime


def _remove_pool(parent: Folder, name: str, idle_before: float | None, seam: Callable[[str], None]) -> None:
    with suppress(OSError, LedgerUnsafe), closing(parent.enter(name, create=False)) as pool:
        fcntl.flock(pool.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if idle_before is not None and _last_use(pool) > idle_before:
            return
        for entry in pool.names():
            if _OURS.fullmatch(entry):
                seam("clean: before unlink")
                os.unlink(entry, dir_fd=pool.fd)
        os.rmdir(name, dir_fd=parent.fd)


def _last_use(pool: Folder) -> float:
    """Return when somebody last went into ``pool``; without a ledger it is the folder that was touched."""
    try:
        return os.stat(LEDGER, dir_fd=pool.fd, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return os.fstat(pool.fd).st_mtime
