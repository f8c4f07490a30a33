"""The step-size controller, in operations that every backend rounds alike.

Only ``+ - * / sqrt`` and selections occur: IEEE 754 rounds these correctly, so Python, compiled code, SIMD
lanes and a GPU agree to the last bit. A true power ``err ** (-1/5)`` would come from a different library in
each of them.
"""

from __future__ import annotations

__all__ = ["FINITE_RETRIES", "STRETCH", "control_source"]

SAFETY = 0.9
NON_FINITE_SHRINK = 0.1

FINITE_RETRIES = 10
"""Attempts in a row, each with a tenth of the step, before a non-finite error ends the run."""

STRETCH = 1.0 + 2.0**-13
"""A step that would stop this close before the end is stretched to it: no last step of a few ulps."""


def control_source(order: int) -> list[str]:
    """Return the lines of ``control(err, row) -> factor`` for an error estimate of size ``h ** order``.

    ``err`` is the scaled error (accepted when <= 1), ``row`` the number of rejections just before this
    attempt, ``factor`` what the step is multiplied by. With z the square root of the error and a = 2/order
    the classical ``z ** -a`` is replaced by its Pade approximant ``((1+a) + (1-a)z) / ((1-a) + (1+a)z)``: the
    same slope where steps are accepted, one root, and limits of its own instead of clamps (0.39 to 2.1 for
    order 5). A step after a rejection does not grow; a non-finite ``err`` shrinks strongly.
    """
    # Order 2 would have a = 1 and no limits.
    a = min(2.0 / order, 0.8)
    return [
        "def control(err, row):",
        "    z = math.sqrt(err)",
        f"    factor = ({SAFETY * (1.0 + a)!r} + {SAFETY * (1.0 - a)!r}*z)/({1.0 - a!r} + {1.0 + a!r}*z)",
        "    calm = factor if factor < 1.0 else 1.0",
        "    factor = factor if (err <= 1.0 and row == 0) else calm",
        f"    return factor if err <= HUGE else {NON_FINITE_SHRINK!r}",
    ]
