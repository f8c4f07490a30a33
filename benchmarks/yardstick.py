"""The hand-written program `lorenz_simd.cpp`, compiled on the machine that it is to run on."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRICT = "-ffp-contract=off"
"""For the rounding of strict lanes: GCC fuses multiply-adds unless told not to."""


def compiled(*flags: str) -> ctypes.CDLL:
    """Compile the program for this machine's vectors and load it; OSError without ``g++``."""
    source = Path(__file__).with_name("lorenz_simd.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "lorenz_simd.so"
        options = ["-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC", *flags]
        subprocess.run(["g++", *options, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


class Yardstick:
    """A Lorenz sweep from (1, 0, 0) at time 0, made by the C program each time it is called.

    Attributes
    ----------
    ys
        (n_points or 1, 3, n_runs).
    counts
        (2, n_runs): accepted and rejected attempts.
    status
        (n_runs,): codes of `solver.Status`.
    """

    def __init__(
        self,
        code: ctypes.CDLL,
        rho: NDArray[Any],
        t1: float,
        ts: NDArray[Any] | None,
        *,
        h0: float,
        rtol: float,
        atol: float,
        max_steps: int = 100_000,
    ) -> None:
        self.rho, self.ts = rho, np.empty(0) if ts is None else ts
        self.ys = np.empty((len(self.ts) or 1, 3, len(rho)))
        self.counts, self.status = np.empty((2, len(rho)), np.int32), np.empty(len(rho), np.int32)
        numbers = [ctypes.c_double(x) for x in (t1, h0, rtol, atol, max_steps)]
        rho_at, *arrays = (
            ctypes.c_void_p(a.ctypes.data) for a in (self.rho, self.ts, self.ys, self.counts, self.status)
        )
        n_runs, n_points = ctypes.c_int64(len(rho)), ctypes.c_int64(len(self.ts))
        self._call, self._arguments = code.lorenz, (n_runs, rho_at, *numbers, n_points, *arrays)

    def __call__(self) -> NDArray[Any]:
        """Make all runs and return ``ys``."""
        self._call(*self._arguments)
        return self.ys
