"""How a run of a batch ended: one small integer per run, each with a sentence for people."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RUNNING", "Status", "describe"]

RUNNING = -1
"""What the generated loop carries while a run is still under way; never written to a result."""


class Status(IntEnum):
    """The end of one run; ``Status(code).message`` says what it means."""

    message: str

    def __new__(cls, value: int, message: str) -> Status:
        """Build a member that carries its message."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.message = message
        return member

    OK = 0, "reached the end of its time span"
    EVENT = 1, "ended by a terminal event; later save points are NaN"
    MAX_STEPS = 2, "used up max_steps attempts; the last accepted state is returned"
    STEP_UNDERFLOW = 3, "the step became smaller than the spacing of floats at this time"
    NON_FINITE = 4, "the right-hand side or the state is NaN or infinite, also with much smaller steps"


def describe(status: NDArray[np.int32]) -> str:
    """Return one line that counts how the runs ended: ``"998 OK, 2 NON_FINITE (first: run 7)"``.

    Parameters
    ----------
    status
        Codes of shape (n_runs,).
    """
    parts = []
    for member in Status:
        (runs,) = np.nonzero(status == member)
        if runs.size:
            where = "" if member is Status.OK else f" (first: run {runs[0]})"
            parts.append(f"{runs.size} {member.name}{where}")
    return ", ".join(parts)
