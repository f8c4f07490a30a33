"""Which expressions of a function are integers: counters and indexes must stay so when numbers are typed."""

from __future__ import annotations

import ast

__all__ = ["integer_names", "is_integer"]

_INTEGER_CALLS = frozenset({"len", "int", "range"})
_CLOSED = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Pow)


def is_integer(node: ast.expr, names: set[str]) -> bool:  # noqa: PLR0911 - one case per kind of node
    """Tell whether ``node`` is an integer for sure, given the names that are."""
    match node:
        case ast.Constant(value=value):
            return type(value) is int
        case ast.Name(id=name):
            return name in names
        case ast.UnaryOp(operand=operand):
            return is_integer(operand, names)
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _CLOSED) and is_integer(left, names) and is_integer(right, names)
        case ast.IfExp(body=body, orelse=orelse):
            return is_integer(body, names) and is_integer(orelse, names)
        case ast.Call(func=ast.Name(id=function)):
            return function in _INTEGER_CALLS
    return False


def integer_names(tree: ast.AST, given: set[str]) -> set[str]:
    """Return the names that only ever hold integers: ``given`` globals, counters, their sums and products."""
    assigned: dict[str, list[ast.expr]] = {}
    counters = set(given)
    for node in ast.walk(tree):
        match node:
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"))):
                counters.add(name)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        assigned.setdefault(target.id, []).append(value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                assigned.setdefault(name, []).append(ast.BinOp(ast.Constant(0), op, value))
    candidates = set(assigned)
    # Start from all and take away what is contradicted, so that `i = i + 1` stays an integer.
    while True:
        known = counters | candidates
        refuted = {n for n in candidates if not all(is_integer(v, known) for v in assigned[n])}
        if not refuted:
            return known
        candidates -= refuted
