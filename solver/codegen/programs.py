"""From a recipe to something that runs: only this module knows what each backend wants.

All backends execute the same text. ``python`` is the text itself on NumPy scalars, ``cpu`` compiles it (in
SIMD lanes where the system is small), ``sim`` and ``cuda`` wrap it in a kernel with one thread per run.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from solver.codegen.attempt import tables
from solver.codegen.generate import functions_source, run_source
from solver.codegen.lanes import block_source, scalar_block_source
from solver.codegen.literals import Constants, Held
from solver.codegen.scalar import python_math, python_substitute
from solver.codegen.strips import goes_in_strips, strips_source
from solver.codegen.typed import define, retell
from solver.numerics.recipe import ARGUMENTS, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LANES", "kernel_function", "kernel_program", "lane_width", "program"]

PYTEST_DONT_REWRITE = True
"""For pytest: functions of this module are compiled by numba, which does not know rewritten asserts."""

LANES = {8: 16, 4: 32}
"""Runs in lockstep by bytes per number: two AVX-512 registers; with one, LLVM leaves the loop scalar."""


def lane_width(recipe: Recipe) -> int:
    """Return how many runs one core steps in lockstep; 1 where the program loops over arrays."""
    return 1 if recipe.looped else LANES[recipe.dtype.itemsize]


@functools.lru_cache(maxsize=256)
def program(
    recipe: Recipe, backend: Literal["cpu", "python"], lanes: int | None = None
) -> Callable[..., None]:
    """Return ``block(lo, hi, *arguments)``, which makes the runs lo to hi - 1 of a batch.

    Parameters
    ----------
    recipe
        What to make.
    backend
        ``"cpu"`` (compiled, releases the GIL) or ``"python"``.
    lanes
        Runs in lockstep; 1 for plain scalar code, None for `lane_width`.
    """
    width = lane_width(recipe) if lanes is None else lanes
    if backend == "python":
        namespace = _namespace(recipe, _as_it_is, python_substitute(recipe.dtype), int)
        namespace["math"] = python_math(recipe.dtype)
        _define(recipe, namespace, [*run_source(recipe, "np.empty"), *scalar_block_source()])
        return _quiet(namespace["block"])
    if width == 1:
        return _compiled(recipe, [*run_source(recipe, "np.empty"), *scalar_block_source()])
    any_runs = _compiled(recipe, block_source(recipe, width), in_lanes=True)
    if not goes_in_strips(recipe):
        return any_runs
    return _Neighbours(_compiled(recipe, strips_source(recipe, width), in_lanes=True), any_runs)


class _Neighbours:
    """The block of a batch in which neighbours are mostly alike; what makes the others is compiled on demand.

    Attributes
    ----------
    strips, any_runs
        Programs of `strips_source` and `block_source`.
    """

    def __init__(self, strips: Callable[..., Any], any_runs: Callable[..., Any]) -> None:
        self.strips, self.any_runs = strips, any_runs

    def __call__(self, lo: int, hi: int, *arguments: Any) -> None:
        rest = self.strips(lo, hi, *arguments)
        if rest < hi:
            self.any_runs(rest, hi, *arguments)


def _compiled(recipe: Recipe, block: list[str], *, in_lanes: bool = False) -> Callable[..., Any]:
    """Return the compiled ``block`` of these lines."""
    import numba

    fast: Any = {"contract"} if recipe.contract else False
    options = {"error_model": "numpy", "fastmath": fast, "nogil": True}
    # Lanes are only vectorised when all is inlined before LLVM sees it; plain code compiles faster without.
    device = numba.njit(inline="always" if in_lanes else "never", **options)
    namespace = _namespace(recipe, device, _as_it_is, np.int64)
    if in_lanes:
        from solver.codegen import packed, vectors

        namespace |= {name: getattr(module, name) for module in (packed, vectors) for name in module.__all__}
        _define(recipe, namespace, block, Held(recipe.dtype, vectors.held, apart="block"))
    else:
        _define(recipe, namespace, block)
        namespace["one"] = numba.njit(**options)(namespace["one"])
    for name in _functions(recipe, namespace):
        namespace[name] = device(namespace[name])
    made: Callable[..., Any] = numba.njit(**options)(namespace["block"])
    return made


def kernel_function(recipe: Recipe, *, simulated: bool) -> Any:
    """Return the plain function ``kernel(n_runs, *arguments)``, ready for `cuda.jit`.

    Thread ``cuda.grid(1)`` makes the run of that number; threads at or beyond ``n_runs`` do nothing, so
    buffers may be longer than the batch.
    """
    from numba import cuda

    # Inlined everywhere: a nested dispatcher would ask for the current device while compiling, and there may
    # be none.
    device = _as_it_is if simulated else cuda.jit(device=True, inline="always")  # type: ignore[no-untyped-call]
    substitutes = python_substitute(recipe.dtype) if simulated else _as_it_is
    namespace = _namespace(recipe, device, substitutes, int if simulated else np.int32)
    # The simulator exchanges `cuda` in a kernel's globals only: it must not be a closure variable.
    namespace |= {"cuda": cuda, "math": python_math(recipe.dtype) if simulated else math}
    arguments = ", ".join(ARGUMENTS)
    kernel = [
        f"def kernel(n_runs, {arguments}):",
        "    r = cuda.grid(1)",
        "    if r < n_runs:",
        f"        one(r, {arguments})",
    ]
    _define(recipe, namespace, [*run_source(recipe, "cuda.local.array"), *kernel])
    for name in [*_functions(recipe, namespace), "one"]:
        namespace[name] = device(namespace[name])
    if simulated:
        namespace["one"] = _quiet(namespace["one"])
    return namespace["kernel"]


@functools.lru_cache(maxsize=256)
def kernel_program(recipe: Recipe) -> Any:
    """Return the kernel for the device or, under ``NUMBA_ENABLE_CUDASIM=1``, for the simulator.

    Launch as ``kernel[blocks, threads, stream](n_runs, *arguments)`` with arrays on the device.
    """
    from numba import cuda
    from numba.core import config

    simulated = bool(getattr(config, "ENABLE_CUDASIM", False))
    return cuda.jit(kernel_function(recipe, simulated=simulated))  # type: ignore[no-untyped-call]


def _checked(recipe: Recipe) -> None:
    """Call the right-hand side once in Python: its mistakes read better there than from a compiler.

    Raises
    ------
    ValueError
        When it does not return a tuple of ``n_states``.
    """
    one = recipe.dtype.type(1)
    given: list[Any] = [one, (one,) * recipe.n_states, (one,) * recipe.n_params]
    given += [(one,) * recipe.n_drivers] if recipe.n_drivers else []
    slope = retell(recipe.rhs, recipe.dtype, _as_it_is, python_substitute(recipe.dtype))
    result = _quiet(slope)(*given)
    if not isinstance(result, tuple) or len(result) != recipe.n_states:
        name = getattr(recipe.rhs, "__qualname__", repr(recipe.rhs))
        message = (
            f"{name} must return a tuple of {recipe.n_states} numbers (n_states), it returned {result!r}"
        )
        raise ValueError(message)


def _namespace(
    recipe: Recipe, device: Callable[[Any], Any], substitutes: Callable[[Any], Any], whole: type
) -> dict[str, Any]:
    """Return the globals of a program: its numbers, tables, and the user's functions.

    ``whole`` is the type of counters, of no influence on results: what is cheapest on the backend.
    """
    _checked(recipe)
    real = recipe.dtype.type
    limits = np.finfo(recipe.dtype)
    namespace: dict[str, Any] = {
        "np": np,
        "math": math,
        "real": real,
        "whole": whole,
        "int32": np.int32,
        "NAN": real(np.nan),
        "INF": real(np.inf),
        "HUGE": real(limits.max),
        "ROOT_EPS": real(np.sqrt(limits.eps)),
        "rhs": retell(recipe.rhs, recipe.dtype, device, substitutes),
        **tables(recipe),
    }
    for e, event in enumerate(recipe.events):
        namespace[f"event{e}"] = retell(event.function, recipe.dtype, device, substitutes)
    return namespace


def _define(
    recipe: Recipe, namespace: dict[str, Any], lines: list[str], numbers: Constants | None = None
) -> None:
    define([*functions_source(recipe), *lines], namespace, numbers or Constants(recipe.dtype))


def _functions(recipe: Recipe, namespace: dict[str, Any]) -> list[str]:
    """Return the names of the generated functions that a run calls."""
    watches = [f"watch{e}" for e in range(len(recipe.events))]
    return [name for name in ("slope", "drive", "control", "attempt", *watches) if name in namespace]


def _as_it_is(value: Any) -> Any:
    return value


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` without NumPy's warnings: in a batch, infinities and NaN are results."""

    @functools.wraps(function)
    def calm(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return calm
