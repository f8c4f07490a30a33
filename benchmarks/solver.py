"""The Lorenz ensemble, side by side: our lanes, hand-written C with SIMD vectors, and other people's solvers.

One thread each (all is pinned to one core), all in one run, best of several repeats taken in turn, so that a
noisy machine is noisy for all; and best of several processes, since where a process happens to have its
memory can make what it runs a tenth slower for as long as it lives. Accuracy stands beside every speed: the
error over ``atol + rtol*|y|``, median and 99th percentile of the runs. Rivals that are not installed get a
row that says so. They are no dependencies of this project; give them an environment of their own (numbalsoda
builds with cmake and gfortran)::

    python -m venv rivals
    rivals/bin/pip install numba numpy scipy numbalsoda heyoka jax diffrax torch torchdiffeq
    rivals/bin/python benchmarks/solver.py

Problem: sigma 10, beta 8/3, rho from 0 to 21, from (1, 0, 0), rtol 1e-6, atol 1e-8, first step 1e-3 where it
can be set.
"""

# Thread counts are set before anything reads them; rivals are imported where they are tried.
# ruff: noqa: E402, PLC0415

from __future__ import annotations

import os

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
os.environ.update(ONE_THREAD)

import argparse
import math
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.yardstick import Yardstick, compiled
from solver.codegen.programs import program
from solver.ensemble import arguments_for, integrate
from solver.numerics.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RTOL, ATOL, H0 = 1e-6, 1e-8, 1e-3
N_POINTS = 100
PROCESSES, REPEATS = 3, 20

GOALS = (
    ("strict lanes", "C, fused multiply-add", 0.8),
    ("contracted lanes", "C, fused multiply-add", 1.0),
    ("strict lanes", "numbalsoda dop853", 15.0),
    ("contracted lanes", "numbalsoda dop853", 15.0),
    ("strict lanes", "heyoka batch, tol 1e-6", 3.0),
    ("strict lanes", "diffrax vmap tsit5", 40.0),
    ("contracted lanes", "diffrax vmap tsit5", 40.0),
)
"""How many times as fast as another row, by CPU time, one of our rows is to be."""


def lorenz(t: float, y: Any, p: Any) -> Any:
    """Lorenz' system with rho as parameter."""
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


@dataclass
class Row:
    """One row: for how many runs, and what came of it; why not, where it could not be made."""

    name: str
    n_runs: int
    wall: float = math.inf
    cpu: float = math.inf
    error: tuple[float, float] = (math.nan, math.nan)
    missing: str = ""


class Contender:
    """What makes the runs of a row: ``make`` returns (n_points or 1, 3, n_runs)."""

    def __init__(self, row: Row, make: Callable[[], NDArray[Any]]) -> None:
        self.row, self.make = row, make

    def repeat(self) -> NDArray[Any]:
        """Make the runs once and keep the best times."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = self.make()
        self.row.wall = min(self.row.wall, time.perf_counter() - wall)
        self.row.cpu = min(self.row.cpu, time.process_time() - cpu)
        return result


def rhos(n_runs: int) -> NDArray[Any]:
    """Return the parameters of a sweep of ``n_runs``."""
    return np.linspace(0.0, 21.0, n_runs)


def points(t1: float, save: bool) -> NDArray[Any] | None:
    """Return the save points, or None for the final state only."""
    return np.linspace(0.0, t1, N_POINTS) if save else None


def reference(n_runs: int, t1: float, save: bool) -> NDArray[Any]:
    """Return states that are right to at least 1e-9."""
    return integrate(
        Recipe(lorenz, 3, 1),
        [1.0, 0, 0],
        rhos(n_runs)[None],
        (0.0, t1),
        ts=points(t1, save),
        rtol=1e-12,
        atol=1e-12,
    ).ys


def lanes(
    n_runs: int, t1: float, save: bool, *, contract: bool, width: int | None = None
) -> Callable[[], NDArray[Any]]:
    """Take our CPU backend on one core: the compiled block on prepared arrays."""
    recipe = Recipe(lorenz, 3, 1, points=save, contract=contract)
    ts = np.linspace(0.0, t1, N_POINTS)[:, None] if save else np.empty((0, 1))
    inputs = (
        np.array([[1.0], [0], [0]]),
        rhos(n_runs)[None],
        np.array([[0.0], [t1]]),
        ts,
        np.empty((0, 0, 0)),
    )
    outputs = {k: np.empty(shape, kind) for k, (shape, kind) in recipe.outputs(n_runs, len(ts)).items()}
    arguments = arguments_for(
        recipe, inputs, tuple(outputs.values()), h0=H0, rtol=RTOL, atol=ATOL, max_steps=100_000
    )
    block = program(recipe, "cpu", width)

    def make() -> NDArray[Any]:
        block(0, n_runs, *arguments)
        return outputs["ys"]

    return make


def c_program(n_runs: int, t1: float, save: bool, *flags: str) -> Yardstick:
    """Take the hand-written program beside this file, compiled here and now."""
    code = compiled(*flags)
    return Yardstick(code, rhos(n_runs), t1, points(t1, save), h0=H0, rtol=RTOL, atol=ATOL)


def numbalsoda_dop853(n_runs: int, t1: float, save: bool) -> Callable[[], NDArray[Any]]:
    """Call numbalsoda's DOP853 from a compiled loop."""
    import numba
    from numbalsoda import dop853, lsoda_sig

    @numba.cfunc(lsoda_sig)
    def slope(t: Any, y: Any, dy: Any, p: Any) -> None:
        dy[0] = 10.0 * (y[1] - y[0])
        dy[1] = y[0] * (p[0] - y[2]) - y[1]
        dy[2] = y[0] * y[1] - (8 / 3) * y[2]

    address, ts = slope.address, np.linspace(0.0, t1, N_POINTS if save else 2)
    skip = 0 if save else 1

    @numba.njit
    def sweep(rho: Any, out: Any) -> None:
        start, p = np.array([1.0, 0.0, 0.0]), np.empty(1)
        for r in range(rho.size):
            p[0] = rho[r]
            found, _ = dop853(address, start, ts, data=p, rtol=RTOL, atol=ATOL)
            out[:, :, r] = found[skip:]

    out, rho = np.empty((len(ts) - skip, 3, n_runs)), rhos(n_runs)

    def make() -> NDArray[Any]:
        sweep(rho, out)
        return out

    return make


def heyoka_batch(n_runs: int, t1: float, save: bool, tol: float = 1e-6) -> Callable[[], NDArray[Any]]:
    """Take heyoka's Taylor integrator, eight runs per batch."""
    import heyoka as hy

    x, y, z = hy.make_vars("x", "y", "z")
    system = [
        (x, 10.0 * (y - x)),
        (y, x * (hy.par[0] - z) - y),
        (z, x * y - (8 / 3) * z),
    ]
    size = 8
    integrator = hy.taylor_adaptive_batch(
        system, state=np.zeros((3, size)), pars=np.zeros((1, size)), tol=tol
    )
    rho, out = rhos(n_runs), np.empty((N_POINTS if save else 1, 3, n_runs))
    grid = np.repeat(np.linspace(0.0, t1, N_POINTS)[:, None], size, axis=1)

    def make() -> NDArray[Any]:
        for lo in range(0, n_runs, size):
            integrator.set_time(0.0)
            integrator.state[:] = [[1.0], [0.0], [0.0]]
            integrator.pars[0] = rho[lo : lo + size]
            if save:
                found = integrator.propagate_grid(grid)
                out[:, :, lo : lo + size] = found[-1] if isinstance(found, tuple) else found
            else:
                integrator.propagate_until(t1)
                out[0, :, lo : lo + size] = integrator.state
        return out

    return make


def diffrax_vmap(n_runs: int, t1: float, save: bool) -> Callable[[], NDArray[Any]]:
    """Take diffrax' Tsit5 under vmap."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def slope(t: Any, y: Any, rho: Any) -> Any:
        return jnp.stack([10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2]])

    ts = points(t1, save)
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=jnp.asarray(ts))
    controller = diffrax.PIDController(rtol=RTOL, atol=ATOL)
    term, start = diffrax.ODETerm(slope), jnp.array([1.0, 0.0, 0.0])

    def one(rho: Any) -> Any:
        return diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, t1, H0, start, rho, saveat=saveat, stepsize_controller=controller
        ).ys

    batch, rho = jax.jit(jax.vmap(one)), jnp.asarray(rhos(n_runs))

    def make() -> NDArray[Any]:
        return np.asarray(batch(rho).block_until_ready()).transpose(1, 2, 0)

    return make


def torchdiffeq_joint(n_runs: int, t1: float, save: bool) -> Callable[[], NDArray[Any]]:
    """Take torchdiffeq's dopri5: the whole batch as one system with one step."""
    import torch
    from torchdiffeq import odeint

    torch.set_num_threads(1)
    rho = torch.linspace(0, 21, n_runs, dtype=torch.float64)
    start = torch.zeros(3, n_runs, dtype=torch.float64)
    start[0] = 1
    ts = torch.linspace(0, t1, N_POINTS if save else 2, dtype=torch.float64)

    def slope(t: Any, y: Any) -> Any:
        return torch.stack([10 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2]])

    def make() -> NDArray[Any]:
        with torch.no_grad():
            found = odeint(slope, start, ts, rtol=RTOL, atol=ATOL, options={"first_step": H0}).numpy()
        return found if save else found[1:]

    return make


def scipy_loop(n_runs: int, t1: float, save: bool) -> Callable[[], NDArray[Any]]:
    """Take scipy's RK45, run after run."""
    from scipy.integrate import solve_ivp

    ts = points(t1, save)

    def make() -> NDArray[Any]:
        found = [
            solve_ivp(
                lorenz, (0, t1), [1.0, 0, 0], rtol=RTOL, atol=ATOL, first_step=H0, args=((rho,),), t_eval=ts
            ).y
            for rho in rhos(n_runs)
        ]
        return np.stack([y if save else y[:, -1:] for y in found], axis=-1).swapaxes(0, 1)

    return make


def contenders(t1: float, save: bool, quick: bool) -> list[Contender | Row]:
    """Return who makes the rows, and those rows that cannot be made."""
    many, some = (2_000, 400) if quick else (10_000, 2_000)
    rows: list[tuple[str, int, Callable[[int], Callable[[], NDArray[Any]]]]] = [
        ("strict lanes", many, lambda n: lanes(n, t1, save, contract=False)),
        ("contracted lanes", many, lambda n: lanes(n, t1, save, contract=True)),
        ("C, fused multiply-add", many, lambda n: c_program(n, t1, save)),
        ("C, rounding as strict", many, lambda n: c_program(n, t1, save, "-ffp-contract=off")),
        ("same source, scalar", some, lambda n: lanes(n, t1, save, contract=False, width=1)),
        ("heyoka batch, tol 1e-6", some, lambda n: heyoka_batch(n, t1, save)),
        ("heyoka batch, tol 1e-9", some, lambda n: heyoka_batch(n, t1, save, 1e-9)),
        ("numbalsoda dop853", some, lambda n: numbalsoda_dop853(n, t1, save)),
        ("diffrax vmap tsit5", 10_000, lambda n: diffrax_vmap(n, t1, save)),
        ("torchdiffeq dopri5", 10_000, lambda n: torchdiffeq_joint(n, t1, save)),
        ("scipy RK45", 20, lambda n: scipy_loop(n, t1, save)),
    ]
    made: list[Contender | Row] = []
    for name, n_runs, build in rows:
        try:
            made.append(Contender(Row(name, n_runs), build(n_runs)))
        except ImportError as missing:
            made.append(Row(name, n_runs, missing=str(missing)))
    return made


def measured(t1: float, save: bool, quick: bool) -> list[Row]:
    """Return the rows of one comparison as this process finds them."""
    rows = contenders(t1, save, quick)
    running = [row for row in rows if isinstance(row, Contender)]
    for one in running:
        exact = reference(one.row.n_runs, t1, save)
        error = np.abs(one.repeat() - exact) / (ATOL + RTOL * np.abs(exact))
        worst = error.max(axis=(0, 1))
        one.row.error = (float(np.median(worst)), float(np.percentile(worst, 99)))
        one.row.wall = one.row.cpu = math.inf  # that one compiled
    for _ in range(3 if quick else REPEATS):
        for one in running:
            one.repeat()
    return [one.row if isinstance(one, Contender) else one for one in rows]


def measured_anew(t1: float, save: bool, quick: bool) -> list[Row]:
    """Return the best of several processes, one after the other."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        found = [pool.submit(measured, t1, save, quick).result() for _ in range(1 if quick else PROCESSES)]
    return [
        replace(same[0], wall=min(row.wall for row in same), cpu=min(row.cpu for row in same))
        for same in zip(*found, strict=True)
    ]


def compare(t1: float, save: bool, quick: bool) -> bool:
    """Run one comparison, print its table, and tell whether all goals that can be judged are met."""
    rows = measured_anew(t1, save, quick)
    strict = rows[0].cpu / rows[0].n_runs
    what = f"{N_POINTS} save points" if save else "final state"
    best = "best of 3" if quick else f"best of {PROCESSES} processes, {REPEATS} repeats in each"
    print(f"\nLorenz to t = {t1:g}, {what}; one thread; {best}")
    print(
        f"{'':24} {'runs':>6} {'runs/s wall':>12} {'runs/s cpu':>12} "
        f"{'strict is':>10} {'error p50':>10} {'p99':>8}"
    )
    for row in rows:
        if row.missing:
            print(f"{row.name:24} not installed ({row.missing})")
            continue
        ratio = row.cpu / row.n_runs / strict
        print(
            f"{row.name:24} {row.n_runs:6} {row.n_runs / row.wall:12,.0f} {row.n_runs / row.cpu:12,.0f} "
            f"{ratio:9.2f}x {row.error[0]:10.3g} {row.error[1]:8.3g}"
        )
    return judge({row.name: row.cpu / row.n_runs for row in rows if not row.missing})


def judge(seconds: dict[str, float]) -> bool:
    """Print how the goals were met, given each row's CPU seconds per run."""
    met = True
    for ours, rival, goal in GOALS:
        if rival in seconds:
            ratio = seconds[rival] / seconds[ours]
            met &= ratio >= goal
            verdict = "" if ratio >= goal else "  MISSED"
            print(f"{ours} {ratio:.2f} times as fast as {rival}; goal {goal:g}{verdict}")
    return met


def main() -> int:
    """Run the comparisons; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and repeats")
    parser.add_argument("--only", choices=("final", "points"), help="final states, or 100 save points")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    kinds = {"final": (False,), "points": (True,), None: (False, True)}[options.only]
    met = [compare(t1, save, options.quick) for save in kinds for t1 in (1.0, 10.0)]
    return not all(met)


if __name__ == "__main__":
    sys.exit(main())
