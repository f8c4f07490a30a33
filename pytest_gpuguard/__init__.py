"""Keep CUDA test suites from hanging: end them, name the leak, share what the host has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuguard.budget import Budget, BudgetDeadlock, BudgetTimeout, BudgetTooLarge, Lease
    from pytest_gpuguard.plan.declared import gpu_demand

__version__ = "0.1.0.dev0"

__all__ = [
    "Budget",
    "BudgetDeadlock",
    "BudgetTimeout",
    "BudgetTooLarge",
    "Lease",
    "__version__",
    "gpu_demand",
]


def __getattr__(name: str) -> object:
    """Load the public names when they are first asked for: pytest loads this module in every run."""
    # For conftest files: without the budget and what that needs.
    if name == "gpu_demand":
        from pytest_gpuguard.plan.declared import gpu_demand

        return gpu_demand
    if name in __all__:
        from pytest_gpuguard import budget

        return getattr(budget, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
