"""What a process tells the scheduler of its tests: read from its items when collection is over."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_gpuguard.plan.suite import Need, Offer, Suite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType

    import pytest

    from pytest_gpuguard.hooks.affinity import SessionParams
    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.plan.declared import Asked
    from pytest_gpuguard.plan.demand import Demand

__all__ = ["offer_of", "suite_of"]

# By which tests end the CUDA context of their process: cuda.close(), context.reset(), cudaDeviceReset().
_ENDS = ({"cuda", "close"}, {"cuda", "reset"}, {"cudaDeviceReset"}, {"cuDevicePrimaryCtxReset"})


def suite_of(
    items: Sequence[pytest.Item], asked: Mapping[int, Asked], affinity: dict[str, list[int]]
) -> tuple[Suite, list[Asked]]:
    """Return the suite, and what is asked for by each number of its needs.

    Parameters
    ----------
    asked
        What tests ask for, by index.
    affinity
        Tests that share something.
    """
    numbers: dict[tuple[object, ...], int] = {}
    kinds: list[Asked] = []
    needs: dict[int, int] = {}
    for test, wanted in asked.items():
        signature = (_signature(wanted.own) if wanted.own is not None else None, wanted.kept)
        if signature not in numbers:
            numbers[signature] = len(kinds)
            kinds.append(wanted)
        needs[test] = numbers[signature]
    last = _last(items) if needs else []
    return Suite(len(items), _groups(items), affinity, needs, last), kinds


def offer_of(items: Sequence[pytest.Item], leasing: Leasing, params: SessionParams | None) -> Offer:
    """Return what the scheduler has to know of ``items``, and of what they need in this process."""
    affinity = params.shared(items) if params is not None else {}
    suite, kinds = suite_of(items, _asked(items, leasing), affinity)
    if not kinds:
        return Offer(suite)
    forecasts = [leasing.desk.forecast(asked) for asked in kinds]
    host = leasing.desk.host
    return Offer(suite, [Need(*forecast) for forecast in forecasts], host.limits, list(host.devices))


def _asked(items: Sequence[pytest.Item], leasing: Leasing) -> dict[int, Asked]:
    found = ((test, leasing.foresee(item)) for test, item in enumerate(items))
    return {test: asked for test, asked in found if asked is not None}


def _signature(demand: Demand) -> tuple[object, ...]:
    return (
        demand.memory,
        demand.pinned,
        demand.regions,
        demand.count,
        demand.exclusive,
        tuple(sorted(demand.resources.items())),
    )


def _groups(items: Sequence[pytest.Item]) -> dict[str, list[int]]:
    """Return the tests with marks ``xdist_group``; several names on one test make one, as in xdist."""
    groups: dict[str, list[int]] = defaultdict(list)
    for test, item in enumerate(items):
        if "xdist_group" not in item.keywords:  # marks of parents are in there too: one look, no walk
            continue
        names = {
            str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
            for mark in item.iter_markers("xdist_group")
        }
        if names:
            groups["_".join(sorted(names))].append(test)
    return dict(groups)


def _last(items: Sequence[pytest.Item]) -> list[int]:
    """Return the tests that seem to end the CUDA context: others would have to make it, and compile, anew."""
    codes = (
        (test, getattr(getattr(item, "function", None), "__code__", None)) for test, item in enumerate(items)
    )
    return [test for test, code in codes if code is not None and _ends_context(code)]


def _ends_context(code: CodeType) -> bool:
    return any(names <= set(code.co_names) for names in _ENDS)
