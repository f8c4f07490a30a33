"""Who may hold how much of what a host has, across processes and runs; usable without pytest."""

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
