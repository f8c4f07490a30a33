"""Some numbers in a row as one value, for compiled programs: vectors that no compiler has to find.

Whether LLVM makes vectors of a loop depends on its number of turns and on what it can prove of addresses; for
loops shorter than 16 turns it asks for no run-time checks at all. A `Packed` is a vector from the start, on
every machine: LLVM splits what is wider than its registers.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

from solver.codegen.savepoints import PACKED

__all__ = ["fence", "lowest", "not_after", "packed", "stream", "turn", "unpack"]


class Packed(types.Type):
    """`PACKED` numbers of one type as one value; ``+ - *`` take them and plain numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Packed({dtype})")

    def can_convert_from(self, typing_context: Any, other: Any) -> Any:
        return Conversion.safe if other == self.dtype else None


@register_model(Packed)
class _PackedModel(models.PrimitiveModel):
    def __init__(self, manager: Any, packed_type: Packed) -> None:
        number = manager.lookup(packed_type.dtype).get_value_type()
        super().__init__(manager, packed_type, ir.VectorType(number, PACKED))


@lower_cast(types.Float, Packed)
def _spread(context: Any, builder: Any, kind: Any, packed_type: Any, value: Any) -> Any:
    vector = context.get_value_type(packed_type)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), PACKED), None)
    return builder.shuffle_vector(first, first, zeros)


@infer_global(operator.add)
@infer_global(operator.sub)
@infer_global(operator.mul)
class _PackedOperator(AbstractTemplate):
    def generic(self, arguments: Any, keywords: Any) -> Any:
        found = [kind for kind in arguments if isinstance(kind, Packed)]
        if len(arguments) == 2 and found and all(kind in {found[0], found[0].dtype} for kind in arguments):
            return signature(found[0], found[0], found[0])
        return None


@lower_builtin(operator.add, Packed, Packed)
def _add(context: Any, builder: Any, call: Any, values: Any) -> Any:
    return builder.fadd(*values)


@lower_builtin(operator.sub, Packed, Packed)
def _subtract(context: Any, builder: Any, call: Any, values: Any) -> Any:
    return builder.fsub(*values)


@lower_builtin(operator.mul, Packed, Packed)
def _multiply(context: Any, builder: Any, call: Any, values: Any) -> Any:
    return builder.fmul(*values)


@intrinsic
def packed(typing_context: Any, array: Any, index: Any) -> Any:
    """Return the numbers of ``array`` from ``index`` on, along the axis that is contiguous."""
    value = Packed(array.dtype)

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        start = cgutils.unpack_tuple(builder, arguments[1])
        return _load(builder, _place(context, builder, array, arguments[0], start, value), array)

    return value(array, index), codegen


@intrinsic
def unpack(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write ``value`` into ``array`` from ``index`` on, along the axis that is contiguous."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        start = cgutils.unpack_tuple(builder, arguments[1])
        _store(builder, arguments[2], _place(context, builder, array, arguments[0], start, value), array)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, value: Any) -> Any:
    """Return a pointer to a vector of the type ``value`` in ``array``; no index counts from the end."""
    fields = context.make_array(kind)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, kind, fields, index, wraparound=False)
    return builder.bitcast(place, context.get_value_type(value).as_pointer())


def _load(builder: Any, place: Any, kind: Any) -> Any:
    return builder.load(place, align=kind.dtype.bitwidth // 8)


def _store(builder: Any, vector: Any, place: Any, kind: Any) -> Any:
    return builder.store(vector, place, align=kind.dtype.bitwidth // 8)


@intrinsic
def not_after(typing_context: Any, times: Any, limits: Any) -> Any:
    """Return an integer whose bit k says whether ``times[k] <= limits[k]``; ``limits`` may be one number."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        limit = context.cast(builder, arguments[1], limits, times)
        reached = builder.fcmp_ordered("<=", arguments[0], limit)
        bits = builder.bitcast(reached, ir.IntType(PACKED))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(times, limits), codegen


@intrinsic
def lowest(typing_context: Any, bits: Any) -> Any:
    """Return the number of the lowest bit that is set; ``bits`` is not zero."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(bits), codegen


@intrinsic
def turn(typing_context: Any, source: Any, start: Any, target: Any, at: Any) -> Any:
    """Transpose the square of PACKED numbers a side that begins at ``start``; the last axes are contiguous.

    Its sides are the first and the last axis of ``source``, and both axes of ``target``.
    """

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        first, *others = cgutils.unpack_tuple(builder, arguments[1])
        row, column = cgutils.unpack_tuple(builder, arguments[3])
        steps = [ir.IntType(64)(k) for k in range(PACKED)]
        value = Packed(source.dtype)
        rows = []
        for k in steps:
            index = builder.add(first, k), *others
            rows.append(_load(builder, _place(context, builder, source, arguments[0], index, value), source))
        for k, vector in zip(steps, _transposed(builder, rows), strict=True):
            index = builder.add(row, k), column
            _store(builder, vector, _place(context, builder, target, arguments[2], index, value), target)
        return context.get_dummy_value()

    return types.void(source, start, target, at), codegen


@intrinsic
def stream(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Do as `unpack`, past the caches: at an address that is a multiple of the vector's size; see `fence`."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        start = cgutils.unpack_tuple(builder, arguments[1])
        place = _place(context, builder, array, arguments[0], start, value)
        written = builder.store(arguments[2], place, align=array.dtype.bitwidth // 8 * PACKED)
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def fence(typing_context: Any) -> Any:
    """End streaming: from here on, other threads see what was written."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the columns of a square of vectors: halves of each half are exchanged, and so on."""
    n = len(rows)
    far = n // 2
    while far:
        lower = [c if not c & far else n + c - far for c in range(n)]
        upper = [c + far if not c & far else n + c for c in range(n)]
        for k in range(n):
            if not k & far:
                pair = rows[k], rows[k + far]
                rows[k], rows[k + far] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), n), columns))
                    for columns in (lower, upper)
                )
        far //= 2
    return rows
