"""How long one claim may wait: in all, and since anybody ahead got further."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Patience"]


@dataclass(slots=True)
class Patience:
    """Two clocks of one wait.

    Parameters
    ----------
    started
        When the wait began, in seconds of a monotonic clock.
    timeout
        Longest wait in all; None for no such bound.
    patience
        Longest time without progress of anybody ahead; None for no such bound.
    """

    started: float
    timeout: float | None
    patience: float | None
    _moved: float = field(init=False)
    _seen: Hashable = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.timeout is None and self.patience is None:
            message = "every wait is bounded: give a timeout, or patience, or both"
            raise ValueError(message)
        self._moved = self.started

    def look(self, now: float, seen: Hashable) -> None:
        """Take note of what those ahead look like; the clock of patience starts anew when that changed."""
        if seen != self._seen:
            self._moved, self._seen = now, seen

    def left(self, now: float) -> float:
        """Return the seconds until the nearer bound."""
        bounds = []
        if self.timeout is not None:
            bounds.append(self.started + self.timeout - now)
        if self.patience is not None:
            bounds.append(self._moved + self.patience - now)
        return min(bounds)

    def gave_up(self, now: float) -> str:
        """Return how long it was and which bound it hit."""
        waited = f"gave up after {now - self.started:.1f} s"
        if self.timeout is not None and now >= self.started + self.timeout:
            return waited
        return f"{waited}, {now - self._moved:.1f} s of it without progress of anybody ahead"
