"""One suite of what all workers have published; None where there is nothing to be scheduled by."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_gpuguard.plan.history import with_peaks
from pytest_gpuguard.plan.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gpuguard.plan.history import History
    from pytest_gpuguard.plan.suite import Need, Offer

__all__ = ["Gathered", "gathered_suite"]


class Gathered(NamedTuple):
    """The suite, the limits of the budget, and needs that are known from runs before."""

    suite: Suite
    limits: dict[str, int]
    more: list[Need]


def gathered_suite(
    dist: str,
    ids: Sequence[str],
    offers: Sequence[Offer | None],
    history: History,
    standard: Callable[[], dict[str, int]],
    say: Callable[[str], None],
) -> Gathered | None:
    """Return what there is to be scheduled.

    Parameters
    ----------
    dist
        xdist's ``--dist``: under ``loadscope`` and ``loadfile`` scopes and files are groups.
    ids
        Of the tests.
    offers
        Of the workers; None of one that could not publish.
    history
        What is known of tests that say nothing.
    standard
        Returns the limits that hold where no test says what it needs.
    say
        Tells people what they should know.
    """
    there = [offer for offer in offers if offer is not None]
    if len(there) < len(offers):
        say(
            f"{len(offers) - len(there)} of {len(offers)} workers could not publish groups and needs of tests"
        )
    suite = there[0].suite if there else Suite(len(ids))
    if suite.size != len(ids):
        say(f"workers published {suite.size} tests and sent {len(ids)}: groups and needs are not used")
        suite, there = Suite(len(ids)), []
    if any(offer.suite != suite for offer in there[1:]):
        say("workers differ in what their tests need or in their groups; those of the first are used")
    groups = _with_scopes(dist, ids, suite.groups)
    suite = msgspec.structs.replace(suite, groups=groups)
    limits: dict[str, int] = {}
    for offer in there:
        for name, limit in offer.limits.items():
            limits[name] = min(limit, limits.get(name, limit))
    if history.peaks and not limits:
        limits = standard()
    own = there[0].needs if there else []
    suite, needs = with_peaks(suite, own, ids, history.peaks, limits)
    return None if suite.plain else Gathered(suite, limits, needs[len(own) :])


def _with_scopes(dist: str, ids: Sequence[str], groups: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the groups by mark, and under ``loadscope`` and ``loadfile`` those by scope or file."""
    if dist not in {"loadscope", "loadfile"}:
        return groups
    marked = {test for members in groups.values() for test in members}
    scopes: dict[str, list[int]] = defaultdict(list)
    for test, nodeid in enumerate(ids):
        if test not in marked:
            scope = nodeid.rpartition("::")[0] if dist == "loadscope" else nodeid.partition("::")[0]
            scopes[f"{dist} {scope}"].append(test)
    return groups | scopes
