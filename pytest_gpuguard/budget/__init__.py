"""Who may hold how much of what a host has, across processes and runs; usable without pytest."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuguard.budget.budget import Budget
    from pytest_gpuguard.budget.errors import BudgetDeadlock, BudgetError, BudgetTimeout, BudgetTooLarge
    from pytest_gpuguard.budget.lease import Lease
    from pytest_gpuguard.budget.limits import default_limits, device_limits
    from pytest_gpuguard.budget.model import Holder, Person, Snapshot, Waiting
    from pytest_gpuguard.budget.standing import change_limits, set_limits, standing_limits

__all__ = [
    "Budget",
    "BudgetDeadlock",
    "BudgetError",
    "BudgetTimeout",
    "BudgetTooLarge",
    "Holder",
    "Lease",
    "Person",
    "Snapshot",
    "Waiting",
    "change_limits",
    "default_limits",
    "device_limits",
    "set_limits",
    "standing_limits",
]

_MODULES = ("budget", "errors", "lease", "limits", "model", "standing")


def __getattr__(name: str) -> object:
    """Load the public names when they are first asked for: most runs of tests claim nothing."""
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
