"""Amounts and names as messages write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuguard.budget.model import Person

__all__ = ["amount_text", "amounts_text", "is_device", "person_text", "state_text"]


def is_device(name: str) -> bool:
    """Return whether resource ``name`` is the memory of a device."""
    return name.startswith("gpu.") and not name.endswith(".slots")


def amount_text(name: str, amount: int) -> str:
    """Return ``amount`` of a resource: bytes as ``"1.00 GiB"``, other things as a number."""
    if name != "pinned" and not is_device(name):
        return str(amount)
    return f"-{format_bytes(-amount)}" if amount < 0 else format_bytes(amount)


def amounts_text(amounts: Mapping[str, int]) -> str:
    """Return ``"1.00 GiB pinned, 3 pinned.regions"``."""
    return (
        ", ".join(f"{amount_text(name, amount)} {name}" for name, amount in amounts.items() if amount)
        or "nothing"
    )


def person_text(person: Person) -> str:
    """Return ``"pid 4121  gw0 test_io"``."""
    who = f"pid {person.pid}" if person.pid else f"slot {person.slot}"
    return f"{who}  {person.label}".rstrip()


def state_text(person: Person) -> str:
    """Return what is unusual about somebody: ``"stopped"``; nothing when nothing is."""
    if person.state in {"running", "unknown"}:
        return ""
    keepers = ", ".join(f"pid {pid}" for pid in person.kept_by)
    return f"{person.state}{f': {keepers}' if keepers else ''}"
