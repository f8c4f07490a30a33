"""What a claim can end in."""

# ruff: noqa: N818 - these names are promised to users

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.errors import GuardError

if TYPE_CHECKING:
    from pytest_gpuguard.budget.model import Snapshot

__all__ = ["BudgetDeadlock", "BudgetError", "BudgetTimeout", "BudgetTooLarge"]


class BudgetError(GuardError):
    """A claim was not granted.

    Parameters
    ----------
    message
        What happened with numbers, who is involved, what to do.
    snapshot
        Who held and who waited at that moment, when that was looked up.
    """

    number = "GPG301"

    def __init__(self, message: str, snapshot: Snapshot | None = None) -> None:
        super().__init__(self.number, message)
        self.snapshot = snapshot


class BudgetTimeout(BudgetError, TimeoutError):
    """The claim waited as long as it was allowed to."""

    number = "GPG301"


class BudgetDeadlock(BudgetError):
    """The claim would have waited for ever, for somebody who waits for what the claimant holds."""

    number = "GPG302"


class BudgetTooLarge(BudgetError):
    """The claim is larger than the whole budget."""

    number = "GPG303"
