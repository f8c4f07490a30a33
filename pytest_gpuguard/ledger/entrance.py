"""The way into a pool: ``<root>/gpuguard-<uid>/<boot id>/<pool>/``, and the lock that says somebody is in.

Whoever is in holds a shared lock on the folder itself. The files everybody must agree on, ``ledger`` and
``mutex``, are made only under the exclusive lock, that is, when nobody is in: when they are missing
while somebody *is* in, live state was deleted, and making them anew would be a second budget.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_gpuguard import clock
from pytest_gpuguard.ledger.cleanup import sweep
from pytest_gpuguard.ledger.errors import LedgerLost, LedgerUnsupported
from pytest_gpuguard.ledger.folder import Folder
from pytest_gpuguard.ledger.layout import LEDGER, MUTEX
from pytest_gpuguard.ledger.places import boot_id, pools_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Boot", "look_around", "look_into", "make_pool", "open_pool", "state_of"]


def open_pool(
    root: Path,
    pool: str,
    *,
    boot: str | None = None,
    patience: float = 2.0,
    seam: Callable[[str], None] = lambda _: None,
    monotonic: Callable[[], float] = clock.monotonic,
    sleep: Callable[[float], None] = clock.sleep,
) -> Folder:
    """Go into a pool, made when missing; closing the folder is going out.

    Raises
    ------
    LedgerUnsafe
        When a folder on the way is not ours alone.
    LedgerLost
        When others are in, but their files are gone.
    LedgerUnsupported
        When the file system has no locks on folders.
    """
    deadline = monotonic() + patience
    boot = boot or boot_id()
    while True:
        folder = _attempt(root, boot, pool, seam)
        if folder is not None:
            return folder
        if monotonic() > deadline:
            path = pools_path(root, boot) / pool
            message = (
                f"{path}: {LEDGER} or {MUTEX} is missing while somebody is in (waited {patience:g} s): "
                "files were deleted under live runs; let them end, or use another pool"
            )
            raise LedgerLost(message)
        sleep(0.002)


def look_into(root: Path, pool: str, *, boot: str | None = None) -> Folder | None:
    """Open a pool only to look at it; None when nobody ever used it."""
    folder = None
    with (
        suppress(FileNotFoundError),
        closing(_user_folder(root, create=False)) as user,
        closing(user.enter(boot or boot_id(), create=False)) as generation,
    ):
        folder = generation.enter(pool, create=False)
    if folder is not None and not (_in_use(folder) and _flock(folder, fcntl.LOCK_SH)):
        folder.close()
        return None
    return folder


@dataclass(frozen=True, slots=True)
class Boot:
    """Open folders of one user: of all boots, and of one of them (None when nobody used it so far)."""

    user: Folder
    generation: Folder | None
    name: str


@contextmanager
def look_around(root: Path, *, boot: str | None = None) -> Iterator[Boot | None]:
    """Open the folders in which pools lie, only to look at them; None when there are none."""
    boot = boot or boot_id()
    with ExitStack() as stack:
        try:
            user = stack.enter_context(closing(_user_folder(root, create=False)))
        except FileNotFoundError:
            yield None
            return
        generation = None
        with suppress(FileNotFoundError):
            generation = stack.enter_context(closing(user.enter(boot, create=False)))
        yield Boot(user, generation, boot)


def state_of(folder: Folder) -> Literal["empty", "used", "lost"]:
    """Return whether somebody is in a pool, and has the files that everybody must agree on."""
    if _flock(folder, fcntl.LOCK_EX):
        fcntl.flock(folder.fd, fcntl.LOCK_UN)
        return "empty"
    return "used" if _in_use(folder) else "lost"


def make_pool(root: Path, boot: str, pool: str) -> Folder:
    """Open the folder of a pool, made when missing, without going in: no lock says that we are there."""
    with closing(_user_folder(root, create=True)) as user, closing(user.enter(boot)) as generation:
        return generation.enter(pool)


def _user_folder(root: Path, *, create: bool) -> Folder:
    with closing(Folder.root(root)) as top:
        return top.enter(f"gpuguard-{os.geteuid()}", create=create)


def _attempt(root: Path, boot: str, pool: str, seam: Callable[[str], None]) -> Folder | None:
    """Go in once; None when somebody is just cleaning, or the folder went away below us."""
    try:
        with closing(_user_folder(root, create=True)) as user, closing(user.enter(boot)) as generation:
            folder = generation.enter(pool)
            seam("join: folder made")
            try:
                if _go_in(folder, seam, lambda: sweep(user, generation, boot, folder, seam)):
                    return folder
            except BaseException:
                folder.close()
                raise
            folder.close()
    except FileNotFoundError:
        if not root.is_dir():
            raise
    return None


def _go_in(folder: Folder, seam: Callable[[str], None], first_in: Callable[[], None]) -> bool:
    if _flock(folder, fcntl.LOCK_EX):
        seam("join: folder locked")
        for name in (LEDGER, MUTEX):
            os.close(folder.open_file(name, create=True))
        seam("join: files made")
        first_in()
    # Changing an exclusive lock into a shared one lets go of it for a moment: a cleaner may come in between.
    return _flock(folder, fcntl.LOCK_SH) and folder.alive() and _in_use(folder)


def _in_use(folder: Folder) -> bool:
    names = folder.names()
    return LEDGER in names and MUTEX in names


def _flock(folder: Folder, kind: int) -> bool:
    try:
        fcntl.flock(folder.fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"{folder.path}: folders cannot be locked on this file system ({error.strerror})"
        raise LedgerUnsupported(message) from error
    return True
