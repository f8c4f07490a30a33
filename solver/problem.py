"""What is solved: a right-hand side and its sizes, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Problem", "RightHandSide"]

RightHandSide = Callable[[float, Sequence[float], Sequence[float]], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Problem:
    """An initial-value problem ``dy/dt = rhs(t, y, p)`` of fixed size.

    Parameters
    ----------
    rhs
        One plain Python function of time, a tuple of states and a tuple of parameters that returns a tuple
        of `n_states` numbers. The same function is interpreted by the simulator and compiled for a device.
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

    def probe(self, t: float, y: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> None:
        """Call the right-hand side once, so that a wrong one fails here and not inside a kernel.

        Parameters
        ----------
        t
            A time inside the span to be solved.
        y, p
            States and parameters of one run, shapes ``(n_states,)`` and ``(n_params,)``.

        Raises
        ------
        ValueError
            When it does not return a tuple of `n_states` numbers.
        """
        with np.errstate(all="ignore"):
            slope = self.rhs(t, tuple(y), tuple(p))
        if not isinstance(slope, tuple) or len(slope) != self.n_states:
            got = f"a tuple of {len(slope)}" if isinstance(slope, tuple) else f"a {type(slope).__name__}"
            message = (
                f"{self.name}(t, y, p) returned {got}; return a tuple of n_states={self.n_states} numbers"
            )
            raise ValueError(message)
