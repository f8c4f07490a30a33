"""Compiles the kernels for real devices on a machine without one, and reads what the compiler says of them.

``python -m solver.offline`` prints registers, stack, spills and double-precision instructions of every
method, precision and size. It needs no driver and no toolkit, only packages::

    pip install numba-cuda 'nvidia-nvvm==13.0.*' 'nvidia-cuda-nvrtc==13.*' 'nvidia-nvjitlink==13.*'

NVVM 13.0 writes a PTX version that every linker since takes; what a newer one writes, older tools refuse.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.codegen.programs import kernel_function
from solver.numerics.methods import METHODS
from solver.numerics.recipe import Event, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CAPABILITIES", "Compiled", "compile_kernel", "matrix", "unavailable"]

CAPABILITIES = ((7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0))
"""Turing to Blackwell."""

_PACKAGES = {
    "numba.cuda": "numba-cuda",
    "cuda.core": "cuda-core",
    "nvidia.cu13": "nvidia-nvvm==13.0.* nvidia-cuda-nvrtc==13.*",
    "cuda.bindings.nvjitlink": "cuda-bindings nvidia-nvjitlink==13.*",
}


@dataclass(frozen=True)
class Compiled:
    """What became of one kernel on one architecture.

    Attributes
    ----------
    kernel, capability
        Which kernel, for which architecture (``"sm_80"``).
    registers
        Per thread.
    stack, spill_stores, spill_loads
        Bytes of local memory per thread; the looped form keeps its arrays on the stack.
    doubles
        Instructions on double-precision numbers in the PTX.
    calls
        Calls that were not inlined.
    cubin
        Bytes of machine code.
    seconds
        Time of the front end (once per kernel) and of the linker.
    """

    kernel: str
    capability: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    doubles: int
    calls: int
    cubin: int
    seconds: float


def unavailable() -> str | None:
    """Return why kernels cannot be compiled here, with the remedy; None when they can."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}:
        return "NUMBA_ENABLE_CUDASIM is set: numba simulates and compiles nothing; unset it"
    for module, package in _PACKAGES.items():
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"module {module} is missing: pip install {package}"
    return None


def compile_kernel(
    name: str, recipe: Recipe, capabilities: tuple[tuple[int, int], ...] = CAPABILITIES
) -> list[Compiled]:
    """Compile one kernel to PTX for the oldest of ``capabilities`` and link it for each of them."""
    begun = time.perf_counter()
    ptx = _ptx(recipe, min(capabilities))
    front = time.perf_counter() - begun
    results = []
    for major, minor in capabilities:
        begun = time.perf_counter()
        log, size = _linked(ptx, f"sm_{major}{minor}")
        results.append(
            Compiled(
                kernel=name,
                capability=f"sm_{major}{minor}",
                registers=_number(r"Used (\d+) registers", log),
                stack=_number(r"(\d+) bytes stack frame", log),
                spill_stores=_number(r"(\d+) bytes spill stores", log),
                spill_loads=_number(r"(\d+) bytes spill loads", log),
                doubles=len(re.findall(r"\.f64\b", ptx)),
                calls=len(re.findall(r"\bcall(?:\.uni)?\b", ptx)),
                cubin=size,
                seconds=round(front + time.perf_counter() - begun, 2),
            )
        )
    return results


def _ptx(recipe: Recipe, capability: tuple[int, int]) -> str:
    from numba import cuda

    kernel = kernel_function(recipe, simulated=False)
    compiler: Any = cuda
    ptx, _ = compiler.compile(kernel, _signature(recipe), device=False, abi="numba", cc=capability)
    return ptx if isinstance(ptx, str) else bytes(ptx).decode()


def _signature(recipe: Recipe) -> Any:
    from numba import types

    real = types.float64 if recipe.dtype.itemsize == 8 else types.float32

    def array(kind: Any, dimensions: int) -> Any:
        return types.Array(kind, dimensions, "C")

    inputs = (array(real, 2), array(real, 2), array(real, 2), array(real, 2), array(real, 3))
    counts, status = array(types.int32, 2), array(types.int32, 1)
    outputs = (array(real, 3), array(real, 1), array(real, 3), counts, status)
    return types.void(types.int32, *inputs, *outputs, real, real, real, types.int32, real, real)


def _linked(ptx: str, architecture: str) -> tuple[str, int]:
    """Return the linker's report and the size of the machine code."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=architecture, verbose=True, no_cache=True)
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    code = linker.link("cubin")
    return linker.get_info_log(), len(code.code)


def _number(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    if not found:
        message = f"the linker's report says nothing of {pattern!r}; it reads: {log[:500]!r}"
        raise RuntimeError(message)
    return int(found[-1])


def lorenz(t: float, y: Any, p: Any) -> Any:
    """Lorenz' system, 3 states, rho as parameter."""
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


def ring8(t: float, y: Any, p: Any) -> Any:
    """Lorenz' 1996 ring of 8 states."""
    return (
        (y[1] - y[6]) * y[7] - y[0] + p[0],
        (y[2] - y[7]) * y[0] - y[1] + p[0],
        (y[3] - y[0]) * y[1] - y[2] + p[0],
        (y[4] - y[1]) * y[2] - y[3] + p[0],
        (y[5] - y[2]) * y[3] - y[4] + p[0],
        (y[6] - y[3]) * y[4] - y[5] + p[0],
        (y[7] - y[4]) * y[5] - y[6] + p[0],
        (y[0] - y[5]) * y[6] - y[7] + p[0],
    )


def ring12(t: float, y: Any, p: Any) -> Any:
    """Lorenz' 1996 ring of 12 states."""
    return (
        (y[1] - y[10]) * y[11] - y[0] + p[0],
        (y[2] - y[11]) * y[0] - y[1] + p[0],
        (y[3] - y[0]) * y[1] - y[2] + p[0],
        (y[4] - y[1]) * y[2] - y[3] + p[0],
        (y[5] - y[2]) * y[3] - y[4] + p[0],
        (y[6] - y[3]) * y[4] - y[5] + p[0],
        (y[7] - y[4]) * y[5] - y[6] + p[0],
        (y[8] - y[5]) * y[6] - y[7] + p[0],
        (y[9] - y[6]) * y[7] - y[8] + p[0],
        (y[10] - y[7]) * y[8] - y[9] + p[0],
        (y[11] - y[8]) * y[9] - y[10] + p[0],
        (y[0] - y[9]) * y[10] - y[11] + p[0],
    )


def _first(t: float, y: Any, p: Any) -> Any:
    return y[0]


def matrix() -> Iterator[tuple[str, Recipe]]:
    """Yield name and recipe of every kernel that is looked after."""
    for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
        bits = f"f{8 * dtype.itemsize}"
        for method in METHODS:
            yield f"{method} {bits} n=3", Recipe(lorenz, 3, 1, method, dtype, fixed=method == "rk4")
        yield f"tsit5 {bits} n=3 points", Recipe(lorenz, 3, 1, "tsit5", dtype, points=True)
        events = (Event(_first, terminal=1),)
        yield (
            f"tsit5 {bits} n=3 points event",
            Recipe(lorenz, 3, 1, "tsit5", dtype, points=True, events=events),
        )
        yield f"tsit5 {bits} n=8", Recipe(ring8, 8, 1, "tsit5", dtype)
        yield f"tsit5 {bits} n=12", Recipe(ring12, 12, 1, "tsit5", dtype)


def main(arguments: list[str]) -> int:
    """Compile the matrix and print the table, or JSON lines; exit code 3 when that is impossible here."""
    parser = argparse.ArgumentParser(prog="python -m solver.offline", description=main.__doc__)
    parser.add_argument("--only", default="", help="regular expression that selects kernels by name")
    parser.add_argument("--json", action="store_true", help="one JSON object per kernel and architecture")
    options = parser.parse_args(arguments)
    if reason := unavailable():
        print(f"kernels cannot be compiled here: {reason}", file=sys.stderr)  # noqa: T201 - a command
        return 3
    for name, recipe in matrix():
        if re.search(options.only, name):
            for result in compile_kernel(name, recipe):
                print(json.dumps(asdict(result)) if options.json else _line(result), flush=True)  # noqa: T201
    return 0


def _line(result: Compiled) -> str:
    return (
        f"{result.kernel:28} {result.capability:7} {result.registers:4} registers {result.stack:5} B stack "
        f"{result.spill_stores:4}/{result.spill_loads:<4} B spilled {result.doubles:5} f64 "
        f"{result.calls:2} calls {result.cubin:7} B {result.seconds:5.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
