"""Numbers in syntax trees: literals become constants of one precision, small powers products."""

from __future__ import annotations

import ast
import operator
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.codegen.integers import is_integer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Constants", "Held", "Numbers", "product"]

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_MIXING_CALLS = frozenset({"min", "max", "pow"})
LARGEST_PRODUCT = 16
"""Integer powers up to this one become products."""


class Constants(ast.NodeTransformer):
    """Replaces float literals by names of typed constants."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.real = dtype.type
        self.values: dict[str, Any] = {}

    def constant(self, value: float) -> ast.expr:
        """Return the expression that stands for ``value``: a name."""
        for name, known in self.values.items():
            if known == value and np.signbit(known) == np.signbit(value):
                return ast.Name(name, ast.Load())
        name = f"_real{len(self.values)}"
        self.values[name] = self.real(value)
        return ast.Name(name, ast.Load())

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Type a float."""
        return self.constant(node.value) if isinstance(node.value, float) else node


class Held(Constants):
    """Replaces the float literals of functions by calls of what ``hold`` makes of each number.

    0 and 1 stay constants, and so do all numbers of the function ``apart``.
    """

    def __init__(self, dtype: np.dtype[Any], hold: Callable[[Any], Any], apart: str) -> None:
        super().__init__(dtype)
        self.hold = hold
        self.apart = apart
        self.holding = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Tell functions apart."""
        self.holding = node.name != self.apart
        return self.generic_visit(node)

    def constant(self, value: float) -> ast.expr:
        """Return the expression that stands for ``value``: a name or a call."""
        typed = super().constant(value)
        if not self.holding or value in {0.0, 1.0}:
            return typed
        assert isinstance(typed, ast.Name)
        name = f"_held{typed.id}"
        if name not in self.values:
            self.values[name] = self.hold(self.values[typed.id])
        return ast.Call(ast.Name(name, ast.Load()), [], [])


def _folded(node: ast.expr) -> float | int | None:
    """Return the value of a constant expression such as ``8/3``, computed in double; None when it is none."""
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        value: float | int = node.value  # type: ignore[assignment]  # narrowed by the exact types above
        return value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _folded(node.operand)
        return None if inner is None else (-inner if isinstance(node.op, ast.USub) else inner)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _folded(node.left), _folded(node.right)
        if left is None or right is None:
            return None
        try:
            result = _OPERATORS[type(node.op)](left, right)
        except (ZeroDivisionError, OverflowError):
            return None
        return result if isinstance(result, (int, float)) else None
    return None


class Numbers(Constants):
    """Also turns integers that meet real numbers into typed constants, and small powers into products."""

    def __init__(self, dtype: np.dtype[Any], integers: set[str], known: dict[str, Any]) -> None:
        super().__init__(dtype)
        self.integers = integers
        self.known = known
        self.products: set[int] = set()

    def _is_integer(self, node: ast.expr) -> bool:
        return is_integer(node, self.integers)

    def _real(self, node: ast.expr) -> ast.expr:
        """Return ``node`` visited, and typed when it is an integer."""
        if not self._is_integer(node):
            return self._visited(node)
        value = _folded(node)
        if value is not None:
            return self.constant(float(value))
        return ast.Call(ast.Name("_real", ast.Load()), [self._visited(node)], [])

    def _visited(self, node: ast.expr) -> ast.expr:
        visited: ast.expr = self.visit(node)
        return visited

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Fold constants, type integers that meet reals, turn powers into products."""
        value = _folded(node)
        if value is not None:
            return self.constant(value) if isinstance(value, float) else ast.Constant(value)
        if isinstance(node.op, ast.Pow) and not self._is_integer(node.left):
            return self._power(node)
        if self._is_integer(node) and not isinstance(node.op, ast.Div):
            return node
        return ast.BinOp(self._real(node.left), node.op, self._real(node.right))

    def _power(self, node: ast.BinOp) -> ast.expr:
        exponent = _folded(node.right)
        base = self._visited(node.left)
        if exponent == 0.5:
            return ast.Call(ast.Name("_root", ast.Load()), [base], [])
        if exponent is not None and exponent == int(exponent) and 1 <= abs(exponent) <= LARGEST_PRODUCT:
            self.products.add(abs(int(exponent)))
            product = ast.Call(ast.Name(f"_power{abs(int(exponent))}", ast.Load()), [base], [])
            return product if exponent > 0 else ast.BinOp(self.constant(1.0), ast.Div(), product)
        return ast.BinOp(base, ast.Pow(), self._real(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """Fold a sign into its constant."""
        value = _folded(node)
        if isinstance(value, float):
            return self.constant(value)
        return ast.UnaryOp(node.op, self._visited(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """Type the integers among the sides unless all are."""
        sides = [node.left, *node.comparators]
        if all(self._is_integer(side) for side in sides):
            return node
        first, *others = [self._real(side) for side in sides]
        return ast.Compare(first, node.ops, others)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """Type an integer branch beside a real one."""
        test = self._visited(node.test)
        if self._is_integer(node):
            return ast.IfExp(test, node.body, node.orelse)
        return ast.IfExp(test, self._real(node.body), self._real(node.orelse))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Type integers given to functions that would mix them with reals."""
        if self._is_integer(node):
            return node
        mixing = isinstance(node.func, ast.Attribute) or (
            isinstance(node.func, ast.Name) and node.func.id in _MIXING_CALLS
        )
        arguments = [self._real(a) if mixing else self._visited(a) for a in node.args]
        return ast.Call(node.func, arguments, node.keywords)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Type a module's number such as ``math.pi``."""
        owner = self.known.get(node.value.id) if isinstance(node.value, ast.Name) else None
        value = getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
        return self.constant(value) if isinstance(value, float) else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Leave the index alone."""
        return ast.Subscript(self._visited(node.value), node.slice, node.ctx)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """Type an integer that starts a real variable."""
        real = any(isinstance(t, ast.Name) and t.id not in self.integers for t in node.targets)
        value = self._real(node.value) if real else self._visited(node.value)
        return ast.Assign(node.targets, value)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        """Type an integer added to a real variable."""
        integer = isinstance(node.target, ast.Name) and node.target.id in self.integers
        value = node.value if integer else self._real(node.value)
        return ast.AugAssign(node.target, node.op, value)

    def visit_For(self, node: ast.For) -> ast.stmt:
        """Leave the range alone."""
        body = [self.visit(statement) for statement in node.body]
        return ast.For(node.target, node.iter, body, [self.visit(s) for s in node.orelse])


def product(power: int) -> FunctionType:
    """Return ``x -> x*x*...`` by repeated squaring."""
    lines, names = [f"def power{power}(x):"], []
    bit, current = 1, "x"
    while bit <= power:
        if power & bit:
            names.append(current)
        bit *= 2
        if bit <= power:
            lines.append(f"    x{bit} = {current}*{current}")
            current = f"x{bit}"
    namespace: dict[str, Any] = {}
    exec("\n".join([*lines, f"    return {'*'.join(names)}"]), namespace)  # noqa: S102 - our own text
    made: FunctionType = namespace[f"power{power}"]
    return made
