"""What was claimed, and how much of it is in use: pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.errors import GuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Account"]


class Account:
    """Amounts that were claimed, from which uses are taken.

    Parameters
    ----------
    amounts
        What was claimed.
    where
        Tells who claimed it: the line of a mark. Asked only for an error.
    """

    def __init__(self, amounts: Mapping[str, int], where: Callable[[], str]) -> None:
        self.amounts = Counter(amounts)
        self.used = Counter[str]()
        #: The most that was in use at once.
        self.peak: dict[str, int] = {}
        self._where = where

    def covers(self, name: str) -> bool:
        """Return whether resource ``name`` was claimed at all."""
        return self.amounts[name] > 0

    def left(self, name: str) -> int:
        """Return what is not in use."""
        return self.amounts[name] - self.used[name]

    def take(self, uses: Mapping[str, int], line: str) -> None:
        """Use some of it.

        Parameters
        ----------
        line
            Where that happens.

        Raises
        ------
        GuardError
            GPG308, when more is used than was claimed.
        """
        __tracebackhide__ = True  # pytest then shows the suite's own line
        for name, amount in uses.items():
            if amount > self.left(name):
                claimed, used = amount_text(name, self.amounts[name]), amount_text(name, self.used[name])
                message = (
                    f"{line} allocates {amount_text(name, amount)} {name}: with {used} in use that is more "
                    f"than the {claimed} claimed\n"
                    f"  claimed by {self._where()}\n"
                    f"  hint: claim {amount_text(name, self.used[name] + amount)} there, or free some before"
                )
                raise GuardError("GPG308", message)
        self.used.update(uses)
        for name in uses:
            self.peak[name] = max(self.peak.get(name, 0), self.used[name])

    def give(self, uses: Mapping[str, int]) -> None:
        """Use so much less."""
        self.used.subtract(uses)
