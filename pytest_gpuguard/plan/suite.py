"""What the scheduler knows of a suite: tests by index, groups by name, demands by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

__all__ = ["Amounts", "Need", "Offer", "Suite", "over_limits", "together", "unserved"]

Amounts = Mapping[str, int]


class Need(msgspec.Struct, frozen=True):
    """What one kind of test takes of the budget, in the process that runs it.

    Attributes
    ----------
    amounts
        Held while the test runs.
    kept
        By name, what is held from its first test on until the process ends: CUDA contexts, fixtures of
        session scope.
    """

    amounts: dict[str, int]
    kept: dict[str, dict[str, int]] = {}

    @property
    def whole(self) -> Counter[str]:
        """All that is held while its first test runs."""
        return together([self.amounts, *self.kept.values()])


def together(parts: Iterable[Amounts]) -> Counter[str]:
    """Return what one process holds that holds all ``parts``; its places on a device are shared by them."""
    whole = Counter[str]()
    for amounts in parts:
        for name, amount in amounts.items():
            whole[name] = max(whole[name], amount) if name.endswith(".slots") else whole[name] + amount
    return whole


class Suite(msgspec.Struct, frozen=True):
    """What is the same in all processes that have collected the same tests.

    Attributes
    ----------
    size
        Tests, known as 0 to size - 1.
    groups
        Tests that one worker must run, by name. A test is in one of them at most.
    affinity
        Tests that one worker had better run, by what they share.
    needs
        Number of the :class:`Need` of each test that has one.
    last
        Tests to be run when all others are over.
    """

    size: int
    groups: dict[str, list[int]] = {}
    affinity: dict[str, list[int]] = {}
    needs: dict[int, int] = {}
    last: list[int] = []

    @property
    def plain(self) -> bool:
        """Whether nothing in it takes a scheduler."""
        return not (self.groups or self.affinity or self.needs or self.last)


class Offer(msgspec.Struct, frozen=True):
    """What one process publishes: the suite, and what the needs are there, on its own devices.

    Attributes
    ----------
    limits
        The whole of each resource, as far as a need names it.
    devices
        Resources of the devices that the process sees, its own first.
    """

    suite: Suite
    needs: list[Need] = []
    limits: dict[str, int] = {}
    devices: list[str] = []


def over_limits(amounts: Amounts, limits: Amounts) -> bool:
    """Return whether ``amounts`` are more than there ever is; of what no limit is known there is enough."""
    return any(amount > limits.get(name, amount) for name, amount in amounts.items())


def unserved(needs: Sequence[Need], limits: Amounts) -> list[Need]:
    """Return ``needs`` with nothing in place of those that are refused at once, hence never wait."""
    return [
        Need({})
        if over_limits(need.whole, limits)
        else Need({name: amount for name, amount in need.amounts.items() if name in limits}, need.kept)
        for need in needs
    ]
