"""One kernel to machine code for real devices, and what the compiler says of it."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from solver.codegen.programs import kernel_function

if TYPE_CHECKING:
    from solver.numerics.recipe import Recipe

__all__ = ["CAPABILITIES", "Compiled", "compile_kernel", "unavailable"]

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
