"""What is solved: a right-hand side and its sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Problem", "RightHandSide"]

RightHandSide = Callable[..., tuple[Any, ...]]
"""``rhs(t, y, p)``, or ``rhs(t, y, p, d)`` with sampled inputs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An initial-value problem ``dy/dt = rhs(t, y, p)`` of fixed size.

    Parameters
    ----------
    rhs
        One plain Python function of time, a tuple of states and a tuple of parameters (and, when it is solved
        with drivers, a tuple of their values) that returns a tuple of `n_states` numbers. It is interpreted,
        and compiled for the processor and for a device; numbers in it take the precision of the solver. Its
        globals are read when a batch is first solved, and later changes of them are not seen.
    n_states
        Number of states, at least 1.
    n_params
        Number of parameters of one run, 0 for none.
    """

    rhs: RightHandSide
    n_states: int
    n_params: int = 0

    def __post_init__(self) -> None:
        for name, size, least in (("n_states", self.n_states, 1), ("n_params", self.n_params, 0)):
            if size < least:
                message = f"{name} must be at least {least}, got {size}"
                raise ValueError(message)

    @property
    def name(self) -> str:
        """The right-hand side's name, for threads and messages."""
        return getattr(self.rhs, "__name__", type(self.rhs).__name__)
