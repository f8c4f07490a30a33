"""Numbers of several runs as one value, for compiled programs: vectors that no compiler has to find.

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
from solver.codegen.tiles import STRIP_BYTES
from solver.codegen.vectors import unforeseen

__all__ = [
    "fence",
    "gather",
    "not_after",
    "packed",
    "pick",
    "scatter",
    "stream",
    "turn",
    "unpack",
    "unpack_past",
    "unpack_where",
]


class Packed(types.Type):
    """`PACKED` numbers of one type as one value; ``+ - * /`` take them and plain numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Packed({dtype})")

    def can_convert_from(self, typing_context: Any, other: Any) -> Any:
        return Conversion.safe if types.unliteral(other) == self.dtype else None


@register_model(Packed)
class _PackedModel(models.PrimitiveModel):
    def __init__(self, manager: Any, packed_type: Packed) -> None:
        number = manager.lookup(packed_type.dtype).get_value_type()
        super().__init__(manager, packed_type, ir.VectorType(number, PACKED))


@lower_cast(types.Float, Packed)
@lower_cast(types.Integer, Packed)
def _spread(context: Any, builder: Any, kind: Any, packed_type: Any, value: Any) -> Any:
    vector = context.get_value_type(packed_type)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), PACKED), None)
    return builder.shuffle_vector(first, first, zeros)


@infer_global(operator.add)
@infer_global(operator.sub)
@infer_global(operator.mul)
@infer_global(operator.truediv)
class _PackedOperator(AbstractTemplate):
    def generic(self, arguments: Any, keywords: Any) -> Any:
        found = [kind for kind in arguments if isinstance(kind, Packed)]
        plain = [types.unliteral(kind) for kind in arguments if kind not in found]
        if len(arguments) == 2 and found and set(found + plain) <= {found[0], found[0].dtype}:
            return signature(found[0], found[0], found[0])
        return None


def _lower(operation: Any, name: str) -> None:
    """Let LLVM's instruction of this name do ``operation``; with an f before it for real numbers."""

    def codegen(context: Any, builder: Any, call: Any, values: Any) -> Any:
        whole = isinstance(call.return_type.dtype, types.Integer)
        return getattr(builder, name if whole else f"f{name}")(*values)

    lower_builtin(operation, Packed, Packed)(codegen)


_lower(operator.add, "add")
_lower(operator.sub, "sub")
_lower(operator.mul, "mul")
_lower(operator.truediv, "div")


@intrinsic
def packed(typing_context: Any, array: Any, index: Any) -> Any:
    """Return the numbers of ``array`` from ``index`` on, along the axis that is contiguous."""
    value = Packed(array.dtype)

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        start = cgutils.unpack_tuple(builder, arguments[1])
        return _load(builder, _place(context, builder, array, arguments[0], start, value), array)

    return value(array, index), codegen


def _unpacking(*, past: bool) -> Any:
    """Return what writes a vector, past the caches or not."""

    def unpack(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
            start = cgutils.unpack_tuple(builder, arguments[1])
            place = _place(context, builder, array, arguments[0], start, value)
            _store(builder, arguments[2], place, array, past=past)
            return context.get_dummy_value()

        return types.void(array, index, value), codegen

    return unpack


unpack = intrinsic(_unpacking(past=False))
"""``unpack(array, index, value)`` writes ``value`` into ``array`` from ``index`` on, along the axis that is
contiguous."""

unpack_past = intrinsic(_unpacking(past=True))
"""Does as `unpack`, past the caches: ``index`` is where a vector may begin by its size in memory; see
`fence`."""


@intrinsic
def unpack_where(typing_context: Any, bits: Any, array: Any, index: Any, value: Any) -> Any:
    """Do as `unpack` for the numbers k of ``value`` whose bit k is set, and leave the others alone."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        start = cgutils.unpack_tuple(builder, arguments[2])
        place = _place(context, builder, array, arguments[1], start, value)
        mask, align = _mask(builder, arguments[0]), ir.IntType(32)(array.dtype.bitwidth // 8)
        given = arguments[3], place, align, mask
        kind = ir.FunctionType(ir.VoidType(), [item.type for item in given])
        name = f"llvm.masked.store.v{PACKED}f{array.dtype.bitwidth}.p0"
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(bits, array, index, value), codegen


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, value: Any) -> Any:
    """Return a pointer to a vector of the type ``value`` in ``array``; no index counts from the end."""
    fields = context.make_array(kind)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, kind, fields, index, wraparound=False)
    return builder.bitcast(place, context.get_value_type(value).as_pointer())


def _load(builder: Any, place: Any, kind: Any) -> Any:
    return builder.load(place, align=kind.dtype.bitwidth // 8)


def _store(builder: Any, vector: Any, place: Any, kind: Any, *, past: bool = False) -> None:
    itemsize = kind.dtype.bitwidth // 8
    written = builder.store(vector, place, align=itemsize * (PACKED if past else 1))
    if past:
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


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
def pick(typing_context: Any, bits: Any, yes: Any, no: Any) -> Any:
    """Return number k of ``yes`` where bit k is set, else that of ``no``."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        return builder.select(_mask(builder, arguments[0]), *arguments[1:])

    return no(bits, no, no), codegen


def _mask(builder: Any, bits: Any) -> Any:
    return builder.bitcast(builder.trunc(bits, ir.IntType(PACKED)), ir.VectorType(ir.IntType(1), PACKED))


@intrinsic
def gather(typing_context: Any, array: Any, places: Any) -> Any:
    """Return item ``places[k]`` of ``array`` for each k; places count items in memory, from the first one.

    All are fetched, also those that are at hand already: a gather that leaves some alone takes longer.
    """
    value = Packed(array.dtype)

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        # Addresses as numbers: llvmlite's gep takes no vector.
        itemsize = array.dtype.bitwidth // 8
        numbers = builder.ptrtoint(data, ir.IntType(64)), ir.IntType(64)(itemsize)
        first, scale = (_spread(context, builder, types.int64, places, number) for number in numbers)
        addresses = builder.add(first, builder.mul(arguments[1], scale))
        pointers = builder.inttoptr(addresses, ir.VectorType(data.type, PACKED))
        result, align = context.get_value_type(value), ir.IntType(32)(itemsize)
        everyone = ir.Constant(ir.VectorType(ir.IntType(1), PACKED), [1] * PACKED)
        kind = ir.FunctionType(result, [pointers.type, align.type, everyone.type, result])
        name = f"llvm.masked.gather.v{PACKED}f{array.dtype.bitwidth}.v{PACKED}p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [pointers, align, everyone, ir.Constant(result, ir.Undefined)])

    return value(array, places), codegen


@intrinsic
def scatter(typing_context: Any, array: Any, places: Any, values: Any) -> Any:
    """Write number k of all ``values``, one after the other, from item ``places[k]`` of ``array`` on.

    Places count items in memory, from the first one. As many items are written as the next power of two has:
    what follows the values is overwritten with anything.
    """
    side = 1 << (len(values) - 1).bit_length()

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        columns = cgutils.unpack_tuple(builder, arguments[2])
        columns += [ir.Constant(columns[0].type, ir.Undefined)] * (side - len(columns))
        turned = [_whole(builder, row) for row in _transposed(builder, columns)]
        held = _held(builder, arguments[1])
        for k in range(PACKED):
            first = k // side * side
            part = ir.Constant(ir.VectorType(ir.IntType(32), side), list(range(first, first + side)))
            row = builder.shuffle_vector(turned[k % side], turned[k % side], part)
            start = builder.gep(data, [builder.load(builder.gep(held, [ir.IntType(32)(k)]))])
            _store(builder, row, builder.bitcast(start, row.type.as_pointer()), array)
        return context.get_dummy_value()

    return types.void(array, places, values), codegen


def _whole(builder: Any, vector: Any) -> Any:
    """Return ``vector``, which LLVM is not to make in parts."""
    name = f"llvm.arithmetic.fence.v{vector.type.count}{vector.type.element.intrinsic_name}"
    kind = ir.FunctionType(vector.type, [vector.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def _held(builder: Any, vector: Any) -> Any:
    """Return a pointer to the first number of ``vector``, in memory of its own.

    To take a vector apart, number by number, needs the units that compute; memory does not. The compiler
    would do it nevertheless, if it did not have to expect that somebody else changes that memory. Halves: the
    upper half of a store as wide as a register is not at hand before it has reached the cache.
    """
    half = ir.VectorType(ir.IntType(32), PACKED // 2)
    memory = cgutils.alloca_once(builder, ir.ArrayType(ir.VectorType(vector.type.element, PACKED // 2), 2))
    memory.align = vector.type.count * 8
    pointer = builder.bitcast(memory, vector.type.element.as_pointer())
    for k in range(2):
        numbers = list(range(k * half.count, (k + 1) * half.count))
        part = builder.shuffle_vector(vector, vector, ir.Constant(half, numbers))
        builder.store(part, builder.gep(memory, [ir.IntType(32)(0), ir.IntType(32)(k)]))
        unforeseen(builder, pointer)
    return pointer


def _turning(*, past: bool) -> Any:
    """Return what transposes squares and writes them, past the caches or not."""

    def turn(typing_context: Any, source: Any, start: Any, target: Any, at: Any) -> Any:
        value, bits = Packed(source.dtype), source.dtype.bitwidth
        begins = range(0, 8 * STRIP_BYTES // bits, PACKED)

        def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
            def place(kind: Any, number: int, down: int, right: int) -> Any:
                steps = ir.IntType(64)(down), ir.IntType(64)(right)
                index = map(builder.add, cgutils.unpack_tuple(builder, arguments[number + 1]), steps)
                return _place(context, builder, kind, arguments[number], tuple(index), value)

            def square(begin: int) -> list[Any]:
                places = (place(source, 0, begin + k, 0) for k in range(PACKED))
                return _transposed(builder, [_load(builder, at, source) for at in places])

            squares = [(begin, square(begin)) for begin in begins]
            for k in range(PACKED):
                for begin, rows in squares:
                    _store(builder, rows[k], place(target, 2, k, begin), target, past=past)
            return context.get_dummy_value()

        return types.void(source, start, target, at), codegen

    return turn


turn = intrinsic(_turning(past=False))
"""``turn(source, start, target, at)`` transposes `PACKED` numbers of so many rows as fill `STRIP_BYTES`, from
``start`` in ``source`` to ``at`` in ``target``."""

stream = intrinsic(_turning(past=True))
"""Does as `turn`, past the caches: ``at`` is where a vector may begin by its size in memory; see `fence`."""


@intrinsic
def fence(typing_context: Any) -> Any:
    """End streaming: from here on, other threads see what was written."""

    def codegen(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose each square that ``rows`` are made of: neighbours are exchanged, then pairs, and so on.

    The side of a square is the number of rows, a power of two.
    """
    n, columns = len(rows), range(PACKED)
    far = 1
    while far < n:
        lower = [c if not c & far else PACKED + c - far for c in columns]
        upper = [c + far if not c & far else PACKED + c for c in columns]
        for k in range(n):
            if not k & far:
                pair = rows[k], rows[k + far]
                rows[k], rows[k + far] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), PACKED), places))
                    for places in (lower, upper)
                )
        far *= 2
    return rows
