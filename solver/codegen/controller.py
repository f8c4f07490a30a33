"""The step-size controller, in operations that every backend rounds alike.

Only ``+ - * /`` and selections occur: IEEE 754 rounds these correctly, so Python, compiled code, SIMD
lanes and a GPU agree to the last bit. A true power ``err ** (-1/5)`` would come from a different library in
each of them.
"""

from __future__ import annotations

__all__ = ["FINITE_RETRIES", "STRETCH", "control_source", "far"]

SAFETY = 0.86
SHRINK = 0.1

GROWTH = 2.5
"""The controller is exact where a step could have been so many times as long, and where its error was 1."""

LEAP = 5.0
"""A step that could have been so many times as long is followed by one that is: a first step that was far too
short, and what a transient leaves behind, would take some attempts more at the controller's own limit."""

FINITE_RETRIES = 10
"""Attempts in a row, each with a tenth of the step, before a non-finite error ends the run."""

STRETCH = 1.0 + 2.0**-13
"""A step that would stop this close before the end is stretched to it: no last step of a few ulps."""


def far(order: int) -> float:
    """Return the error at which a step should become a tenth; above, and where it is not finite, it does."""
    return float(round(SHRINK**-order))


def control_source(order: int) -> list[str]:
    """Return the lines of ``control(err, row) -> factor`` for an error estimate of size ``h ** order``.

    ``err`` is the scaled error (accepted when <= 1), ``row`` the number of rejections just before this
    attempt, ``factor`` what the step is multiplied by. With a = 1/order the classical ``err ** -a`` is
    replaced by a quotient ``((low+a) + (1-low-a)*err) / (low + (1-low)*err)``: the same value and slope at 1,
    where steps are accepted, and the same value where that is `GROWTH`. Written as ``least + gain/(shift +
    err)`` it is one division, no product, no root, and has limits of its own instead of clamps (for order 5:
    0.66 to 2.3). Where ``LEAP`` is due, the step leaps. A step after a rejection does not grow.
    """
    a = 1.0 / order
    low = a / (GROWTH - 1.0) - 1.0 / (GROWTH**order - 1.0)
    shift = low / (1.0 - low)
    least = SAFETY * (1.0 - low - a) / (1.0 - low)
    gain = SAFETY * (low + a) / (1.0 - low) - least * shift
    return [
        "def control(err, row):",
        f"    factor = {least!r} + {gain!r}/({shift!r} + err)",
        f"    factor = factor if err > {(SAFETY / LEAP) ** order!r} else {LEAP!r}",
        "    calm = factor if factor < 1.0 else 1.0",
        "    factor = calm if row > 0 else factor",
        f"    return factor if err <= {far(order)!r} else {SHRINK!r}",
    ]
