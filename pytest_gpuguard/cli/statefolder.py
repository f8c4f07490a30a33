"""What the doctor says of the folder where budgets live."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from pytest_gpuguard.cli.findings import fail, note, ok, warn
from pytest_gpuguard.cli.where import snapshot_of
from pytest_gpuguard.ledger.errors import LedgerUnsafe, LedgerUnsupported
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.cli.findings import Finding
    from pytest_gpuguard.cli.where import Where
    from pytest_gpuguard.ledger.entrance import Boot
    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["look_at_state_folder"]

_ABOUT = "state folder"
_ELSEWHERE = "choose another folder with --gpuguard-budget-dir"
_LEAST_FILES = 64


def look_at_state_folder(where: Where) -> Iterator[Finding]:
    """Look at file system, locks, permissions, and at what lies there."""
    if sys.platform != "linux":
        yield warn(
            _ABOUT,
            f"{sys.platform} has no locks on ranges: one claim at a time holds a whole pool",
            "run suites with budgets on Linux where that is too slow",
        )
        return
    from pytest_gpuguard.ledger.entrance import look_around
    from pytest_gpuguard.ledger.folder import Folder

    try:
        with closing(Folder.root(where.root)) as root:
            yield from _disk(root)
        yield _locks(where)
        with look_around(where.root) as boot:
            yield from _contents(where, boot)
    except (OSError, LedgerUnsafe) as error:
        yield fail(_ABOUT, str(error), _ELSEWHERE)


def _disk(root: Folder) -> Iterator[Finding]:
    from pytest_gpuguard.ledger.selftest import KNOWN_GOOD, filesystem_of

    kind = filesystem_of(root.fd)
    if kind in KNOWN_GOOD:
        yield ok(_ABOUT, f"{root.path} lies on {kind}")
    else:
        yield warn(
            _ABOUT,
            f"{root.path} lies on {kind or 'a file system of unknown type'}, on which locks were not tried",
            f"choose a folder on {', '.join(sorted(KNOWN_GOOD))} with --gpuguard-budget-dir",
        )
    space = os.fstatvfs(root.fd)
    # Files are empty and need no blocks; a file system that does not count them says 0 of 0.
    if space.f_files and space.f_favail < _LEAST_FILES:
        yield fail(
            _ABOUT, f"{root.path} has room for {space.f_favail} more files", "free some, or " + _ELSEWHERE
        )
    elif space.f_bavail == 0:
        yield warn(
            _ABOUT,
            f"{root.path} is full: waiters cannot be woken and found out only by looking every 250 ms",
            "free some space",
        )


def _locks(where: Where) -> Finding:
    """Try locks in a pool made for it and taken away again."""
    from pytest_gpuguard.ledger.entrance import make_pool
    from pytest_gpuguard.ledger.places import boot_id
    from pytest_gpuguard.ledger.selftest import try_everything

    pool = f"doctor-{secrets.token_hex(4)}"
    with closing(make_pool(where.root, boot_id(), pool)) as folder:
        try:
            try_everything(folder)
        except LedgerUnsupported as error:
            return fail(
                "locks",
                f"{error}: one claim at a time holds the whole pool (slow, never too much)",
                "choose a folder on a local file system with --gpuguard-budget-dir",
            )
        finally:
            for name in folder.names():
                os.unlink(name, dir_fd=folder.fd)
            with suppress(FileNotFoundError):
                folder.path.rmdir()
    return ok("locks", "ranges, folders and the mutex exclude between descriptors and processes")


def _contents(where: Where, boot: Boot | None) -> Iterator[Finding]:
    from pytest_gpuguard.ledger.cleanup import IDLE_SECONDS, clean

    if boot is None:
        yield ok(_ABOUT, "nothing lies there; the first claim makes what it needs")
        return
    for left in clean(boot.user, boot.generation, boot.name, IDLE_SECONDS, remove=False):
        age = "left by an earlier boot" if left.idle is None else f"unused for {format_seconds(left.idle)}"
        yield warn("leftovers", f"{left.path} was {age}", "gpuguard clean (the next run does it, too)")
    if boot.generation is None or where.pool not in boot.generation.names():
        yield ok("pool", f"nobody has used {where.path} since the host started")
        return
    with closing(boot.generation.enter(where.pool, create=False)) as pool:
        yield from _files(pool)
        yield from _people(where, pool)


def _files(pool: Folder) -> Iterator[Finding]:
    from pytest_gpuguard.ledger.cleanup import OURS
    from pytest_gpuguard.ledger.layout import bell_name

    for name in sorted(pool.names()):
        if not OURS.fullmatch(name):
            yield note("pool", f"{pool.path / name} is not ours and is left alone")
            continue
        problem = _problem(pool, name, is_pipe=name.startswith(bell_name(0)[:2]))
        if problem:
            yield fail("pool", problem, "remove it once no run uses the pool, or choose another pool")


def _problem(pool: Folder, name: str, *, is_pipe: bool) -> str:
    if is_pipe:
        fd = pool.open_pipe(name, os.O_RDONLY)
        if fd is None:
            return f"{pool.path / name} is no pipe of ours: whoever sits there is not woken"
        os.close(fd)
        return ""
    try:
        os.close(pool.open_file(name))
    except FileNotFoundError:  # gone meanwhile
        return ""
    except (OSError, LedgerUnsafe) as error:
        return str(error)
    return ""


def _people(where: Where, pool: Folder) -> Iterator[Finding]:
    from pytest_gpuguard.ledger.entrance import state_of

    state = state_of(pool)
    if state == "lost":
        yield fail(
            "pool",
            f"{pool.path}: files were deleted while somebody is in, so nothing is granted any more",
            "let the runs that use it end, then start anew; or use another pool",
        )
    elif state == "empty":
        yield ok("pool", f"{pool.path} is in order, and nobody is in it")
    else:
        yield from _participants(where)


def _participants(where: Where) -> Iterator[Finding]:
    from pytest_gpuguard.budget.people import DEAD_OWNER
    from pytest_gpuguard.budget.wording import amounts_text, person_text, state_text

    said: list[str] = []
    seen = snapshot_of(where, said.append)
    for line in [*said, *seen.differences]:
        yield note("limits", line)
    if seen.approximate:
        yield fail("pool", seen.obstacle, "let the holder of the mutex go on (kill -CONT PID), or end it")
    for holder in seen.holders:
        who = person_text(holder.person)
        what = f"{who} holds {amounts_text(holder.amounts)}: {state_text(holder.person)}"
        if holder.person.state == DEAD_OWNER:
            pids = " ".join(map(str, holder.person.kept_by))
            yield warn("holders", what, f"end what was forked from it: kill {pids or 'PID'}")
        elif holder.person.state == "stopped":
            yield warn("holders", what, f"let it go on (kill -CONT {holder.person.pid}), or end it")
    yield ok(
        "pool",
        f"{seen.participants} in {seen.directory}, {len(seen.holders)} holding, {len(seen.waiters)} waiting",
    )
