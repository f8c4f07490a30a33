"""What compiled programs tell LLVM beside their text: how wide vectors may be, which numbers stay at hand."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import typeof
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["held", "unforeseen", "wide_vectors"]


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


def held(number: Any) -> Any:
    """Return a function for compiled programs that returns ``number``, of which LLVM does not know the value.

    One that it knows it fetches anew for each vector: an instruction for its address and one that spreads it,
    together a seventh of a step. One that it does not know is spread when the program begins; where registers
    are short, it lies on the stack, from where a product takes it without an instruction of its own.
    """
    kind = typeof(number)

    @intrinsic
    def get(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            name = f"held {number!r}"
            for known in builder.function.entry_basic_block.instructions:
                if known.name == name:
                    return known
            with builder.goto_entry_block():
                place = cgutils.alloca_once_value(builder, context.get_constant(kind, number))
                unforeseen(builder, place)
                return builder.load(place, name)

        return kind(), codegen

    return get


def unforeseen(builder: Any, pointer: Any) -> None:
    """Let LLVM expect that somebody else changes what ``pointer`` points to."""
    seen = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.asm(seen, "", "r,~{memory}", [pointer], True)
