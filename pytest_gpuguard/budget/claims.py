"""What a lease needs from whoever keeps the books: the lock table, or the fallback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.budget.model import Snapshot
    from pytest_gpuguard.budget.patience import Patience

__all__ = ["Claims", "OnWait"]

#: Told once, when a claim has to wait, how things stand.
OnWait = Callable[["Snapshot"], None]


class Claims(Protocol):
    """Claims of one thread."""

    def acquire(
        self,
        wants: Mapping[str, int],
        patience: Patience,
        label: str,
        lease: int | None = None,
        on_wait: OnWait | None = None,
    ) -> int:
        """Wait until ``wants`` are ours, all or nothing; return the lease's number (``lease`` if given)."""
        ...

    def open(self, label: str) -> int:
        """Note one more lease, of amounts that are held already; return its number."""
        ...

    def try_take(self, wants: Mapping[str, int]) -> bool:
        """Take ``wants`` if that can be done at once."""
        ...

    def release(self, amounts: Mapping[str, int], lease: int | None = None) -> None:
        """Give ``amounts`` back; with ``lease`` that lease is over."""
        ...

    def progress(self) -> None:
        """Show those who wait behind us that we got a step further."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the whole budget, for people."""
        ...

    def idle(self) -> bool:
        """Return whether nothing is held and nothing waited for."""
        ...

    def leave(self) -> None:
        """Give everything back and go."""
        ...

    def forget(self) -> None:
        """Let go of our copies in a forked child."""
        ...

    @property
    def late(self) -> int:
        """Grants that nothing but the safety poll found."""
        ...
