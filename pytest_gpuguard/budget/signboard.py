"""What a claimant writes on its note: who it is, what its leases are for, what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.budget.people import identify
from pytest_gpuguard.ledger.notes import LeaseNote, clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.ledger.member import Member

__all__ = ["Signboard"]


class Signboard:
    """The note of one member, rewritten when that is worth it.

    Parameters
    ----------
    label
        Who we are when there is nothing more to say.
    boot_clock
        Seconds that all processes of a host agree on.
    """

    def __init__(self, member: Member, label: str, boot_clock: Callable[[], float]) -> None:
        self._member = member
        self._boot_clock = boot_clock
        self._identity = identify(clean(label))
        self._leases: dict[int, LeaseNote] = {}
        self._count = 0

    def show(self) -> None:
        """Say who we are and what we hold."""
        self._write(self._identity.label, 0.0)

    def show_waiting(self, label: str) -> None:
        """Say that we wait, and what for."""
        self._write(clean(label) or self._identity.label, self._boot_clock())

    def add(self, label: str) -> int:
        """Note a new lease; return its number."""
        self._count += 1
        self._leases[self._count] = LeaseNote(clean(label), self._boot_clock())
        self.show()
        return self._count

    def remove(self, lease: int) -> None:
        """Take a lease off. The last one stays: the table shows that we hold nothing, so nobody reads it."""
        self._leases.pop(lease, None)
        if self._leases:
            self.show()

    def _write(self, label: str, waiting: float) -> None:
        leases = tuple(self._leases.values())
        self._member.write_note(
            msgspec.structs.replace(self._identity, label=label, waiting=waiting, leases=leases)
        )
