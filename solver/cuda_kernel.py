"""The kernel: one thread integrates one run. One source for the device and for numba's simulator.

PYTEST_DONT_REWRITE: an ``assert`` that pytest has rewritten no longer compiles in a kernel.

The simulator replaces the name ``cuda`` in the *globals* of a running kernel, where other threads would see
the replacement. So kernels are made in a namespace of their own, and ``cuda`` must be a global there: seen as
a closure variable it would not be replaced.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numba import cuda

from solver.steps import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from solver.devices.device import CompiledKernel
    from solver.problem import Problem

__all__ = ["NON_FINITE", "OK", "build_kernel", "kernel_source"]

OK = 0
NON_FINITE = 1

_TEMPLATE = """\
def kernel(y0, params, starts, widths, counts, ys, status, n_runs):
    r = cuda.grid(1)
    if r < n_runs:
        p = {load_params}
        {load_states}
        code = OK
        for i in range(counts.shape[0]):
            h = real(widths[i])
            half = h * HALF
            sixth = h * SIXTH
            for j in range(counts[i]):
                t = real(starts[i] + j * widths[i])
                {step}
            {save}
            if not ({finite}):
                code = NON_FINITE
        status[r] = code
"""


def kernel_source(method: str, n_states: int, n_params: int) -> str:
    """Return the kernel's text for a method of :data:`solver.steps.METHODS` and the sizes of a problem."""

    def block(lines: list[str], depth: int) -> str:
        return ("\n" + " " * 4 * depth).join(lines)

    states = range(n_states)
    return _TEMPLATE.format(
        load_params=f"({''.join(f'params[{k}, r], ' for k in range(n_params))})",
        load_states=block([f"s{i} = y0[{i}, r]" for i in states], 2),
        step=block(METHODS[method](n_states), 4),
        save=block([f"ys[i, {i}, r] = s{i}" for i in states], 3),
        finite=" and ".join(f"math.isfinite(s{i})" for i in states),
    )


def build_kernel(
    problem: Problem, method: str, dtype: np.dtype[Any], device_function: Callable[[Any], Any]
) -> CompiledKernel:
    """Return the ``cuda.jit`` kernel of a problem.

    Parameters
    ----------
    problem, method
        What to solve, and how.
    dtype
        Precision of states and parameters; times are computed in float64 and rounded to it.
    device_function
        Turns the right-hand side into what a kernel of the device at hand can call.
    """
    real = dtype.type
    namespace: dict[str, Any] = {
        "cuda": cuda,
        "math": math,
        "real": real,
        "rhs": device_function(problem.rhs),
        # Typed constants: a plain literal would turn single precision into double on a device.
        "HALF": real(0.5),
        "SIXTH": real(1.0) / real(6.0),
        "TWO": real(2.0),
        "OK": OK,
        "NON_FINITE": NON_FINITE,
    }
    source = kernel_source(method, problem.n_states, problem.n_params)
    exec(compile(source, f"<{method} kernel of {problem.name}>", "exec"), namespace)  # noqa: S102 - our own text
    return cuda.jit(namespace["kernel"])  # type: ignore[no-untyped-call]
