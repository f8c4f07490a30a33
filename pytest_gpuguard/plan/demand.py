"""What a test needs, from the keywords of its marks and of its fixtures."""

from __future__ import annotations

import re
from collections import ChainMap, Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.ledger.layout import check_amount, check_resource
from pytest_gpuguard.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["KEYWORDS", "Demand", "closest", "merge", "read"]

_CAPABILITY = re.compile(r"(\d+)\.(\d)")


@dataclass(frozen=True, slots=True)
class Demand:
    """What somebody needs, all of it at once.

    Attributes
    ----------
    memory
        Bytes on each device.
    pinned
        Bytes of page-locked host memory.
    count
        Devices.
    exclusive
        Whether nobody else may use these devices meanwhile.
    simulator
        Whether a simulated device will do.
    capability
        Least compute capability, as ``(major, minor)``.
    resources
        Whatever else the budget counts, by name.
    """

    memory: int = 0
    pinned: int = 0
    count: int = 1
    exclusive: bool = False
    simulator: bool = True
    capability: tuple[int, int] | None = None
    resources: Mapping[str, int] = field(default_factory=dict)

    @property
    def regions(self) -> int:
        """Page-locked buffers: as many as ``resources`` says, one where it says nothing."""
        return self.resources.get("pinned.regions", 1 if self.pinned else 0)


def _whole(value: object, least: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        message = f"expected {what}, got {value!r}"
        raise ValueError(message)
    return value


def _amount(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        message = f"expected an amount such as '512 MiB' or a whole number of bytes, got {value!r}"
        raise ValueError(message)
    return check_amount(parse_bytes(value))


def _count(value: object) -> int:
    return _whole(value, 1, "a number of devices, 1 at least")


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"expected True or False, got {value!r}"
        raise ValueError(message)
    return value


def _capability(value: object) -> tuple[int, int] | None:
    match = _CAPABILITY.fullmatch(str(value))
    if match is not None:
        return int(match[1]), int(match[2])
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return value
    message = f"expected a compute capability such as (8, 0) or '8.0', got {value!r}"
    raise ValueError(message)


def _resources(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        message = f"expected a dictionary of amounts by name, got {value!r}"
        raise ValueError(message)
    return {check_resource(name): _amount(amount) for name, amount in value.items()}


_READERS: dict[str, Callable[[object], Any]] = {
    "memory": _amount,
    "pinned": _amount,
    "count": _count,
    "exclusive": _truth,
    "simulator": _truth,
    "capability": _capability,
    "resources": _resources,
}

#: The keywords of marks, of ``gpu_demand`` and of ``gpu_lease``.
KEYWORDS = tuple(_READERS)


def read(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of the keywords that are given.

    Raises
    ------
    ValueError
        Naming the keyword, its value, and what it takes; or all keywords, when one is unknown.
    """
    unknown = sorted(arguments.keys() - _READERS.keys())
    if unknown:
        message = f"unknown keyword {', '.join(map(repr, unknown))}; known are {', '.join(KEYWORDS)}"
        raise ValueError(message)
    values = {}
    for name, value in arguments.items():
        try:
            values[name] = _READERS[name](value)
        except ValueError as error:
            message = f"{name}: {error}"
            raise ValueError(message) from None
    return values


def closest(marks: Iterable[Mapping[str, Any]]) -> Demand:
    """Return what marks say together, each as :func:`read` returns it, the closest to the test first.

    For each keyword the closest mark that has it wins, and within ``resources`` for each name.
    """
    ordered = list(marks)
    values = dict(ChainMap(*(dict(mark) for mark in ordered)))
    values["resources"] = dict(ChainMap(*(dict(mark.get("resources", {})) for mark in ordered)))
    return Demand(**values)


def merge(parts: Iterable[Demand]) -> Demand:
    """Return what a test needs that needs all ``parts`` at once; at least one is given."""
    demands = list(parts)
    resources = Counter[str]()
    for demand in demands:
        resources.update(demand.resources)
    regions = sum(demand.regions for demand in demands)
    return Demand(
        memory=sum(demand.memory for demand in demands),
        pinned=sum(demand.pinned for demand in demands),
        count=max(demand.count for demand in demands),
        exclusive=any(demand.exclusive for demand in demands),
        simulator=all(demand.simulator for demand in demands),
        capability=max((demand.capability for demand in demands if demand.capability), default=None),
        resources=resources | {"pinned.regions": regions} if regions else dict(resources),
    )
