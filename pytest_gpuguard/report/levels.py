"""What all workers together held of a resource over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.budget.wording import amounts_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_gpuguard.report.model import Levels

__all__ = ["Peak", "in_bytes", "memory_text", "peaks", "resources", "total"]


class Peak(NamedTuple):
    """The most that was held of a resource at once, and when in seconds since the run's start."""

    resource: str
    amount: int
    at: float


def in_bytes(resource: str) -> bool:
    """Return whether a resource is memory; others are numbers of things."""
    return resource == "pinned" or (resource.startswith("gpu.") and not resource.endswith(".slots"))


def memory_text(amounts: Mapping[str, int]) -> str:
    """Return what is claimed or held, in words: the memory, and other things where there is none."""
    memory = {name: amount for name, amount in amounts.items() if in_bytes(name)}
    return amounts_text(memory or amounts)


def resources(levels: Iterable[Levels]) -> list[str]:
    """Return what was held, by name."""
    return sorted({series.resource for series in levels})


def total(levels: Iterable[Levels], resource: str) -> list[tuple[float, int]]:
    """Return how much all workers held of a resource, from each moment on."""
    changes: list[tuple[float, int]] = []
    for series in levels:
        if series.resource == resource:
            before = 0
            for at, amount in zip(series.at, series.amount, strict=True):
                changes.append((at, amount - before))
                before = amount
    steps: list[tuple[float, int]] = []
    held = 0
    # What is given back at a moment makes room for what is taken at it.
    for at, change in sorted(changes):
        held += change
        if steps and steps[-1][0] == at:
            steps[-1] = (at, held)
        else:
            steps.append((at, held))
    return steps


def peaks(levels: Iterable[Levels]) -> list[Peak]:
    """Return the most that was held of each resource."""
    series = list(levels)
    found = []
    for resource in resources(series):
        at, amount = max(total(series, resource), key=lambda step: step[1])
        found.append(Peak(resource, amount, at))
    return found
