"""Kinds of tests, by what they need: how large they are, and which leave no room for others afterwards."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_gpuguard.plan.suite import over_limits, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.plan.suite import Amounts, Need

__all__ = ["Bucket", "late", "share_of"]


def share_of(need: Need, limits: Amounts) -> float:
    """Return the largest part of a limit that a need takes."""
    return max((amount / limits[name] for name, amount in need.whole.items() if limits.get(name)), default=0)


def late(needs: Sequence[Need], limits: Amounts) -> dict[int, set[int]]:
    """Return the kinds that leave no room for others once their process keeps something: by number, which."""
    found: dict[int, set[int]] = {}
    for number, need in enumerate(needs):
        beside = {
            other
            for other, wanted in enumerate(needs)
            if not need.kept.keys() <= wanted.kept.keys()
            and over_limits(together([wanted.amounts, *(wanted.kept | need.kept).values()]), limits)
        }
        if beside:
            found[number] = beside
    return found


class Bucket:
    """Tests that are alike for the scheduler: the same need, the same things shared, the same group."""

    __slots__ = ("key", "kind", "seconds", "share", "tests")

    def __init__(self, kind: int | None, key: str | None, share: float = 0.0) -> None:
        self.kind, self.key, self.share = kind, key, share
        self.tests: deque[int] = deque()
        self.seconds = 0.0
