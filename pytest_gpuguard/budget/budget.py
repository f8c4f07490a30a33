"""The budget of a host: what may be held in all, by everybody together."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.errors import BudgetTooLarge
from pytest_gpuguard.budget.lease import Lease
from pytest_gpuguard.budget.limits import default_limits
from pytest_gpuguard.budget.messages import too_large
from pytest_gpuguard.budget.model import Snapshot
from pytest_gpuguard.budget.patience import Patience
from pytest_gpuguard.budget.seats import Seats
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.ledger.errors import LedgerUnsupported
from pytest_gpuguard.ledger.layout import check_amount, check_resource
from pytest_gpuguard.ledger.places import boot_id, check_pool, default_root
from pytest_gpuguard.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pytest_gpuguard.budget.claims import Claims

__all__ = ["Budget"]

_log = logging.getLogger("pytest_gpuguard.budget")


class Budget:
    """Amounts that all participants of a pool share, across processes and runs of one user on one host.

    Nothing is created before the first claim. Each thread claims for itself; claims of one thread add up.

    Parameters
    ----------
    limits
        The whole of each resource, as numbers or text such as ``"2 GiB"``. The smallest limit that any
        live participant works with is the one that counts. By default from the host's memory.
    directory
        Where pools live; ``/tmp`` by default. Runs share a budget when this and ``pool`` are the same.
    pool
        Name of the pool.
    label
        Who we are in others' messages.
    say
        Told, once each and in one line, what people should know: limits that differ, an unknown file
        system, the slow fallback. Goes to the log ``pytest_gpuguard.budget`` by default.
    settings
        For tests.

    Examples
    --------
    >>> budget = Budget({"pinned": 2 << 30})  # doctest: +SKIP
    >>> with budget.acquire({"pinned": 256 << 20}, label="upload"):  # doctest: +SKIP
    ...     run()
    """

    def __init__(
        self,
        limits: Mapping[str, int | str] | None = None,
        directory: Path | str | None = None,
        pool: str = "host",
        *,
        label: str = "",
        say: Callable[[str], None] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.limits = _amounts(default_limits() if limits is None else limits)
        self.directory = Path(directory or default_root())
        self.pool = check_pool(pool)
        self._label = label or Path(sys.argv[0]).name
        self._say = say or _log.warning
        self._said: set[str] = set()
        self._settings = settings or Settings()
        self._fallback: Claims | None = None
        self._seats = Seats(self._open)

    @property
    def late(self) -> int:
        """Grants that nothing but the safety poll found; anything but 0 is a bug or a full disk."""
        return sum(claims.late for claims in self._seats.all())

    def acquire(
        self,
        amounts: Mapping[str, int | str],
        *,
        timeout: float | None = None,
        patience: float | None = 300.0,
        label: str = "",
        on_wait: Callable[[Snapshot], None] | None = None,
    ) -> Lease:
        """Wait until all of ``amounts`` are ours.

        Served in the order of arrival; a later claim passes only on what earlier ones do not need, or where
        an earlier one cannot be served before the later one releases.

        Parameters
        ----------
        amounts
            What is wanted, all or nothing.
        timeout
            Longest wait in all, in seconds.
        patience
            Longest wait since anybody ahead got further: a grant, a release, :meth:`progress`.
        label
            What it is for, in others' messages.
        on_wait
            Told once, if the claim has to wait, who holds and who is ahead.

        Raises
        ------
        BudgetTooLarge
            GPG303, at once: the limits never allow it.
        BudgetDeadlock
            GPG302, at once: waiting would never end, because of what this thread holds already.
        BudgetTimeout
            GPG301: ``timeout`` or ``patience`` ended; names all who hold and all ahead.
        LedgerError
            GPG304 to GPG306: the shared state is stuck, was deleted, or is not ours.
        """
        wants = {name: amount for name, amount in _amounts(amounts).items() if amount}
        self._refuse_unknown(wants)
        started = self._settings.monotonic()
        bounds = Patience(started, timeout, patience)
        claims = self._seats.mine()
        number = claims.acquire(wants, bounds, label, on_wait=on_wait)
        return Lease(claims, wants, number, label, self._settings.monotonic() - started)

    def progress(self) -> None:
        """Show those who wait for us that this process got a step further: a phase of a test ended."""
        for claims in self._seats.all():
            claims.progress()

    def snapshot(self) -> Snapshot:
        """Return who holds what, who waits for what and why; joins nothing and creates nothing."""
        joined = self._seats.all()
        if joined:
            return joined[0].snapshot()
        return self._look() if sys.platform == "linux" else self._nobody()

    def close(self) -> None:
        """Give back everything that any thread holds, and go; a later claim joins anew."""
        self._seats.close()
        self._fallback = None

    def __enter__(self) -> Budget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Claims:
        if self._fallback is None:
            try:
                return self._join()
            except LedgerUnsupported as error:
                self._fall_back(str(error))
        assert self._fallback is not None
        return self._fallback

    def _join(self) -> Claims:
        if sys.platform != "linux":
            message = f"{sys.platform} has no locks on ranges that a thread can own and others can query"
            raise LedgerUnsupported(message)
        from pytest_gpuguard.budget.claimant import Claimant
        from pytest_gpuguard.ledger.entrance import open_pool
        from pytest_gpuguard.ledger.selftest import KNOWN_GOOD, check_ranges, filesystem_of

        folder = open_pool(self.directory, self.pool, seam=self._settings.seam)
        try:
            check_ranges(folder)
            kind = filesystem_of(folder.fd)
            if kind not in KNOWN_GOOD:
                self._once(
                    f"{folder.path} lies on a file system we have not tried ({kind or 'of unknown type'}); "
                    f"its locks passed a test, but are known to work on {', '.join(sorted(KNOWN_GOOD))}"
                )
        except BaseException:
            folder.close()
            raise
        return Claimant(folder, self.limits, self._label, self._once, self._settings)

    def _fall_back(self, why: str) -> None:
        from pytest_gpuguard.budget.fallback import ExclusiveClaims, lock_path

        path = lock_path(self.directory, boot_id(), self.pool)
        self._once(f"{why}; from now on one claim at a time holds the whole pool (slow, but never too much)")
        self._fallback = ExclusiveClaims(path, self.limits, why, self._settings.monotonic)

    def _look(self) -> Snapshot:
        from pytest_gpuguard.budget.people import mutex_holder
        from pytest_gpuguard.budget.survey import survey
        from pytest_gpuguard.ledger.entrance import look_into
        from pytest_gpuguard.ledger.mutex import Mutex
        from pytest_gpuguard.ledger.reader import Reader

        folder = look_into(self.directory, self.pool)
        if folder is None:
            return self._nobody()
        reader = Reader(folder, self._once)
        try:
            mutex = Mutex(
                reader.mutex_fd, folder.path, timeout=self._settings.mutex_timeout, describe=mutex_holder
            )
            seen = survey(reader, mutex, self._settings.boot_clock())
        finally:
            reader.close()
        return seen

    def _nobody(self) -> Snapshot:
        return Snapshot(self.directory, self.limits, self.limits)

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _refuse_unknown(self, wants: Mapping[str, int]) -> None:
        for name, amount in wants.items():
            if name not in self.limits:
                raise BudgetTooLarge(too_large(name, amount, 0, None, ()))


def _amounts(amounts: Mapping[str, int | str]) -> dict[str, int]:
    return {check_resource(name): check_amount(parse_bytes(amount)) for name, amount in amounts.items()}
