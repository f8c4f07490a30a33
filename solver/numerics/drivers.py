"""Sampled inputs of a right-hand side, interpolated on the device.

Samples on a regular grid become one polynomial per interval on the host; the program finds the interval and
evaluates it (Horner). Outside the grid the first or last sample holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from solver.numerics.recipe import Recipe

__all__ = ["Drivers", "drive_source"]


@dataclass(frozen=True)
class Drivers:
    """Inputs sampled at ``start, start + step, ...``: the fourth argument ``d`` of the right-hand side.

    Attributes
    ----------
    values
        Samples of shape (n_drivers, n_samples), at least two samples, finite.
    start, step
        The grid's first time and spacing.
    kind
        ``"linear"`` pieces, or ``"cubic"`` ones with continuous slope (Catmull-Rom; its slopes at the ends
        are one-sided).
    """

    values: ArrayLike
    start: float
    step: float
    kind: Literal["linear", "cubic"] = "linear"

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] < 2:
            message = f"drivers need values of shape (n_drivers, n_samples >= 2), got {values.shape}"
            raise ValueError(message)
        if not np.isfinite(values).all() or not self.step > 0:
            message = f"drivers need finite samples and a positive step, got step {self.step}"
            raise ValueError(message)
        object.__setattr__(self, "values", values)

    @property
    def count(self) -> int:
        """Number of inputs."""
        return int(np.shape(self.values)[0])

    @property
    def degree(self) -> int:
        """Degree of the pieces."""
        return 1 if self.kind == "linear" else 3

    def coefficients(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the pieces, shape (n_segments, n_drivers, degree + 1): rising powers of the fraction."""
        values = np.asarray(self.values)
        left, right = values[:, :-1], values[:, 1:]
        rise = right - left
        if self.degree == 1:
            pieces = [left, rise]
        else:
            slopes = np.gradient(values, axis=1, edge_order=min(2, values.shape[1] - 1))
            first, last = slopes[:, :-1], slopes[:, 1:]
            pieces = [left, first, 3.0 * rise - 2.0 * first - last, first + last - 2.0 * rise]
        return np.ascontiguousarray(np.stack(pieces, axis=-1).swapaxes(0, 1), dtype=dtype)


def drive_source(recipe: Recipe) -> list[str]:
    """Return the lines of ``drive(t, samples, grid_start, grid_rate)``: a tuple of the inputs at ``t``."""
    values = []
    for i in range(recipe.n_drivers):
        text = f"samples[j, {i}, {recipe.driver_degree}]"
        for power in range(recipe.driver_degree - 1, -1, -1):
            text = f"samples[j, {i}, {power}] + x*({text})"
        values.append(text)
    return [
        "def drive(t, samples, grid_start, grid_rate):",
        "    x = (t - grid_start)*grid_rate",
        "    x = x if x > 0.0 else 0.0",  # a NaN too: it would be no index
        "    end = real(samples.shape[0])",
        "    x = x if x < end else end",
        "    j = int(x)",
        "    j = j if j < samples.shape[0] else samples.shape[0] - 1",
        "    x = x - real(j)",
        f"    return {', '.join(values)},",
    ]
