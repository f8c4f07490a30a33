"""Where locks on ranges do not work: one claim at a time for the whole pool.

Slow, never wrong, never unlimited.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import filelock

from pytest_gpuguard import clock
from pytest_gpuguard.budget import messages
from pytest_gpuguard.budget.errors import BudgetDeadlock, BudgetTimeout, BudgetTooLarge
from pytest_gpuguard.budget.model import Snapshot
from pytest_gpuguard.budget.wording import amounts_text
from pytest_gpuguard.ledger.layout import EXCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_gpuguard.budget.claims import OnWait
    from pytest_gpuguard.budget.patience import Patience

__all__ = ["ExclusiveClaims", "lock_path"]

_POLL = 0.02


def lock_path(root: Path, boot: str, pool: str) -> Path:
    """Return the lock file of a pool, its folders made and checked where the platform lets us."""
    if os.name == "posix":
        from pytest_gpuguard.ledger.entrance import make_pool

        with closing(make_pool(root, boot, pool)) as folder:
            return folder.path / EXCLUSIVE
    folder_path = root / "gpuguard" / boot / pool
    folder_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder_path / EXCLUSIVE


class ExclusiveClaims:
    """Claims of one process: whoever holds anything holds the lock of the pool.

    Further claims of the thread that holds it are added up against the limits; those of other threads wait.
    """

    late = 0

    def __init__(
        self,
        path: Path,
        limits: Mapping[str, int],
        why: str,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._path = path
        self._lock = self._new_lock()
        self._limits = dict(limits)
        self._why = why
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._held: dict[str, int] = {}
        self._leases = 0

    def acquire(
        self,
        wants: Mapping[str, int],
        patience: Patience,
        label: str,
        lease: int | None = None,
        on_wait: OnWait | None = None,
    ) -> int:
        """Wait for the lock of the pool, unless this thread has it."""
        self._refuse_too_large(wants)
        with self._changed:
            if self._owner == threading.get_ident():
                self._refuse_own_circle(wants)
            else:
                self._become_owner(wants, patience, label, on_wait)
            self._add(wants)
            self._leases += lease is None
            return self._leases

    def open(self, label: str) -> int:
        """Count one more lease."""
        del label
        with self._changed:
            self._leases += 1
            return self._leases

    def try_take(self, wants: Mapping[str, int]) -> bool:
        """Add ``wants`` to what this thread holds, if it holds something and that fits."""
        with self._changed:
            if self._owner != threading.get_ident() or self._over(wants):
                return False
            self._add(wants)
            return True

    def release(self, amounts: Mapping[str, int], lease: int | None = None) -> None:
        """Give ``amounts`` back; with the last of them the lock."""
        del lease
        with self._changed:
            self._add({name: -amount for name, amount in amounts.items()})
            if not any(self._held.values()) and self._owner is not None:
                self._owner = None
                self._lock.release()
                self._changed.notify_all()

    def progress(self) -> None:
        """Do nothing: nobody can see it."""

    def snapshot(self) -> Snapshot:
        """Return what this process knows: its own share."""
        free = {name: limit - self._held.get(name, 0) for name, limit in self._limits.items()}
        return Snapshot(self._path.parent, self._limits, free, differences=(self._why,), exclusive=True)

    def idle(self) -> bool:
        """Return whether nothing is held."""
        return not any(self._held.values())

    def leave(self) -> None:
        """Give everything back."""
        self.release(dict(self._held))

    def forget(self) -> None:
        """Hold nothing in a forked child; the lock library itself lets go of the parent's lock there."""
        self._lock = self._new_lock()
        self._changed = threading.Condition()
        self._owner, self._held = None, {}

    def _new_lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self._path, thread_local=False, fallback_to_soft=False)

    def _become_owner(
        self, wants: Mapping[str, int], patience: Patience, label: str, on_wait: OnWait | None
    ) -> None:
        if self._owner is None and self._try_lock():
            self._owner = threading.get_ident()
            return
        if on_wait is not None:
            on_wait(self.snapshot())
        while self._owner is not None:
            if not self._changed.wait(max(0.0, patience.left(self._monotonic()))) and self._owner is not None:
                raise self._timed_out(wants, patience, label)
        try:
            self._lock.acquire(timeout=max(0.0, patience.left(self._monotonic())), poll_interval=_POLL)
        except filelock.Timeout as error:
            raise self._timed_out(wants, patience, label) from error
        self._owner = threading.get_ident()

    def _try_lock(self) -> bool:
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
        return True

    def _add(self, amounts: Mapping[str, int]) -> None:
        self._held = self._held | {name: self._held.get(name, 0) + amount for name, amount in amounts.items()}

    def _over(self, wants: Mapping[str, int]) -> list[str]:
        return [
            name for name, amount in wants.items() if self._held.get(name, 0) + amount > self._limits[name]
        ]

    def _refuse_too_large(self, wants: Mapping[str, int]) -> None:
        for name, amount in wants.items():
            if amount > self._limits[name]:
                limit = self._limits[name]
                raise BudgetTooLarge(messages.too_large(name, amount, limit, limit, ()))

    def _refuse_own_circle(self, wants: Mapping[str, int]) -> None:
        if self._over(wants):
            raise BudgetDeadlock(
                f"this thread holds {amounts_text(self._held)} and asks for {amounts_text(wants)} more, of "
                f"{amounts_text(self._limits)} in all: it would wait for itself\n"
                "  hint: claim the whole amount in one piece before anything is held"
            )

    def _timed_out(self, wants: Mapping[str, int], patience: Patience, label: str) -> BudgetTimeout:
        return BudgetTimeout(
            f"asked for {amounts_text(wants)} ({label}), {patience.gave_up(self._monotonic())}\n"
            f"  another process or thread holds the whole pool: {self._why}\n"
            f"  hint: lock file {self._path}; choose a folder on a local file system"
        )
