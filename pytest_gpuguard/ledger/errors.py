"""What can be wrong with the shared truth itself."""

# ruff: noqa: N818 - named like those of the budget, which are promised to users

from __future__ import annotations

from pytest_gpuguard.errors import GuardError

__all__ = ["LedgerBusy", "LedgerError", "LedgerLost", "LedgerUnsafe", "LedgerUnsupported"]


class LedgerError(GuardError):
    """The ledger cannot be used; every subclass has a code of its own."""

    number = "GPG304"

    def __init__(self, message: str) -> None:
        super().__init__(self.number, message)


class LedgerBusy(LedgerError):
    """The mutex of the ledger was not free for its whole, bounded, waiting time."""

    number = "GPG304"


class LedgerLost(LedgerError):
    """Files of the ledger were deleted while somebody uses them."""

    number = "GPG305"


class LedgerUnsafe(LedgerError):
    """A folder or file of the ledger belongs to somebody else, or is not what it should be."""

    number = "GPG306"


class LedgerUnsupported(LedgerError):
    """Locks on this platform or file system do not exclude; :mod:`pytest_gpuguard.budget` then falls back."""

    number = "GPG307"
