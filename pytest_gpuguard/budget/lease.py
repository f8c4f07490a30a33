"""What a holder has in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard import clock
from pytest_gpuguard.budget.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pytest_gpuguard.budget.claims import Claims

__all__ = ["Lease"]


class Lease:
    """Amounts that are ours until released; made by :meth:`pytest_gpuguard.Budget.acquire`.

    Use it as a context manager. A lease that is never released lasts until its process ends or its budget is
    closed, however the process ends. Any thread may release it. In a forked child it is worth nothing: it
    stays the parent's.

    Attributes
    ----------
    label
        What it is for.
    waited
        Seconds until it was granted.
    """

    def __init__(
        self, claims: Claims, amounts: Mapping[str, int], number: int, label: str, waited: float
    ) -> None:
        self.label = label
        self.waited = waited
        self._claims = claims
        self._number = number
        self._amounts = dict(amounts)

    @property
    def amounts(self) -> dict[str, int]:
        """What is held now; empty once released."""
        return dict(self._amounts)

    def release(self) -> None:
        """Give everything back; a second call does nothing."""
        # Forget first: interrupted or called by two threads at once, nothing is given back twice.
        amounts, self._amounts = self._amounts, {}
        if amounts:
            # Nothing of a resource is not to be given back: to the kernel a length of 0 means everything.
            some = {name: amount for name, amount in amounts.items() if amount}
            self._claims.release(some, self._number)

    def resize(
        self, amounts: Mapping[str, int], *, timeout: float | None = None, patience: float | None = 300.0
    ) -> None:
        """Hold ``amounts`` of the resources named, from now on.

        Less is given back at once. More is claimed beside what is held, like a nested claim: all or nothing,
        and refused at once where waiting would never end. What was held stays held if it is refused.

        Parameters
        ----------
        timeout, patience
            As in :meth:`pytest_gpuguard.Budget.acquire`.

        Raises
        ------
        BudgetTooLarge, BudgetDeadlock, BudgetTimeout
            When more cannot be had.
        """
        more, less = self._changes(amounts)
        if more:
            bounds = Patience(clock.monotonic(), timeout, patience)
            self._claims.acquire(more, bounds, self.label, self._number)
            self._add(more)
        if less:
            self._add({name: -amount for name, amount in less.items()})
            self._claims.release(less)

    def try_grow(self, amounts: Mapping[str, int]) -> bool:
        """Hold ``amounts`` of the resources named if that much is free and nobody waits for it; never wait.

        Returns
        -------
        bool
            Whether they are held now; if not, nothing has changed.
        """
        more, less = self._changes(amounts)
        if less:
            message = f"try_grow takes the new whole amounts, and these are less than is held: {sorted(less)}"
            raise ValueError(message)
        if more and not self._claims.try_take(more):
            return False
        self._add(more)
        return True

    def split(self, amounts: Mapping[str, int], label: str = "") -> Lease:
        """Hand ``amounts`` of what is held over to a lease of their own, released by itself.

        Nothing is claimed and nothing changes for others: the amounts stay with the same claimant.

        Parameters
        ----------
        label
            What the new lease is for.

        Raises
        ------
        ValueError
            When that is more than is held.
        """
        parts = {name.lower(): amount for name, amount in amounts.items() if amount}
        for name, amount in parts.items():
            if not 0 <= amount <= self._amounts.get(name, 0):
                message = f"{self!r} has no {amount} of {name!r} to hand over"
                raise ValueError(message)
        number = self._claims.open(label or self.label)
        self._add({name: -amount for name, amount in parts.items()})
        return Lease(self._claims, parts, number, label or self.label, self.waited)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Lease({self._amounts}, label={self.label!r})"

    def _changes(self, amounts: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        if not self._amounts:
            message = f"the lease {self.label!r} was released; claim anew"
            raise ValueError(message)
        steps = {
            name.lower(): amount - self._amounts.get(name.lower(), 0) for name, amount in amounts.items()
        }
        if any(amount < 0 for amount in amounts.values()):
            message = f"an amount cannot be negative, got {dict(amounts)}"
            raise ValueError(message)
        more = {name: step for name, step in steps.items() if step > 0}
        return more, {name: -step for name, step in steps.items() if step < 0}

    def _add(self, steps: Mapping[str, int]) -> None:
        self._amounts = self._amounts | {
            name: self._amounts.get(name, 0) + step for name, step in steps.items()
        }
