"""One suite of what all workers have published; None where there is nothing to be scheduled by."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.plan.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gpuguard.plan.suite import Offer

__all__ = ["gathered_suite"]


def gathered_suite(
    dist: str, ids: Sequence[str], offers: Sequence[Offer | None], say: Callable[[str], None]
) -> tuple[Suite, dict[str, int]] | None:
    """Return the suite and the limits of the budget.

    Parameters
    ----------
    dist
        xdist's ``--dist``: under ``loadscope`` and ``loadfile`` scopes and files are groups.
    ids
        Of the tests.
    offers
        Of the workers; None of one that could not publish.
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
    if suite.plain:
        return None
    limits: dict[str, int] = {}
    for offer in there:
        for name, limit in offer.limits.items():
            limits[name] = min(limit, limits.get(name, limit))
    return suite, limits


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
