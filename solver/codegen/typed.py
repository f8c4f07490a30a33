"""Plain Python functions retold in one precision.

A Python literal is a double: one ``2.0*y[0]`` turns a float32 kernel into double-precision code (1/64 of the
speed on consumer GPUs). So every number in generated text and in the user's functions becomes a constant of
the program's type, integers that meet real numbers included; ``x**3`` becomes a product, which every backend
rounds alike.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from solver.codegen.integers import integer_names
from solver.codegen.literals import Constants, Numbers, product

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["define", "retell"]


def define(lines: list[str], namespace: dict[str, Any], constants: Constants) -> None:
    """Execute generated text in ``namespace``, its float literals as ``constants`` has them."""
    tree = ast.parse("\n".join(lines))
    tree = ast.fix_missing_locations(constants.visit(tree))
    namespace |= constants.values
    exec(compile(tree, f"<solver {constants.real.__name__}>", "exec"), namespace)  # noqa: S102 - our own text


def retell(
    function: Callable[..., Any],
    dtype: np.dtype[Any],
    device: Callable[[Any], Any],
    substitutes: Callable[[Any], Any],
) -> Any:
    """Return ``function`` with all its numbers of type ``dtype``, made callable from a backend's device code.

    Parameters
    ----------
    function
        A plain Python function (or a compiled one that keeps its ``py_func``); functions it calls by name are
        retold with it.
    dtype
        float32 or float64.
    device
        The backend's decorator for functions called from a kernel.
    substitutes
        Maps a global that is no number and no function (such as `math`) to what the backend puts in its
        place.

    Raises
    ------
    ValueError
        When float32 is asked for and the function's source cannot be read.
    """
    return _Retelling(dtype, device, substitutes).of(function)


class _Retelling:
    """One pass over a function and all that it calls."""

    def __init__(
        self, dtype: np.dtype[Any], device: Callable[[Any], Any], substitutes: Callable[[Any], Any]
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.substitutes = substitutes
        self.done: dict[int, Any] = {}

    def of(self, function: Callable[..., Any]) -> Any:
        """Return the retold function, the same one for the same function."""
        plain: Any = getattr(function, "py_func", function)
        if not isinstance(plain, FunctionType):
            message = f"need a plain Python function, got {function!r}; wrap it in a def"
            raise TypeError(message)
        if id(plain) not in self.done:
            self.done[id(plain)] = self.device(self._retold(plain))
        return self.done[id(plain)]

    def _retold(self, function: FunctionType) -> FunctionType:
        tree = _source_tree(function)
        known = _surroundings(function)
        if tree is None:
            if self.dtype.itemsize == 4:
                message = (
                    f"cannot read the source of {function.__qualname__}, "
                    "which float32 needs to type its numbers: define it with def in a file, or use float64"
                )
                raise ValueError(message)
            namespace, code = self._namespace(known), function.__code__
            return FunctionType(code, namespace, function.__name__, None, function.__closure__)
        globals_ = {name for name, value in known.items() if type(value) is int}
        numbers = Numbers(self.dtype, integer_names(tree, globals_), known)
        retold = ast.Module([numbers.visit(tree)], [])
        namespace = self._namespace(known) | numbers.values
        for power in numbers.products:
            namespace[f"_power{power}"] = self.device(product(power))
        code = compile(ast.fix_missing_locations(retold), function.__code__.co_filename, "exec")
        exec(code, namespace)  # noqa: S102 - the user's own function
        made: FunctionType = namespace[tree.name]
        return made

    def _namespace(self, known: dict[str, Any]) -> dict[str, Any]:
        import math

        root = self.substitutes(math.sqrt)
        return {"_real": self.dtype.type, "_root": root} | {n: self._global(v) for n, v in known.items()}

    def _global(self, value: Any) -> Any:
        if isinstance(value, (float, np.floating)):
            return self.dtype.type(value)
        if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
            return value.astype(self.dtype)
        if isinstance(getattr(value, "py_func", value), FunctionType):
            return self.of(value)
        return self.substitutes(value)


def _surroundings(function: FunctionType) -> dict[str, Any]:
    """Return the globals and closure variables that the function names."""
    found = inspect.getclosurevars(function)
    return {**found.globals, **found.nonlocals}


def _source_tree(function: FunctionType) -> ast.FunctionDef | None:
    """Return the bare definition of the function, a lambda's as a def; None when it cannot be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            body = [s for s in node.body if not isinstance(s, ast.Expr)]
            names = [ast.arg(a.arg) for a in node.args.args]
            plain = ast.arguments([], names, None, [], [], None, node.args.defaults)
            return _definition(node.name, plain, body)
        if isinstance(node, ast.Lambda) and _same_code(node, function):
            return _definition("rhs", node.args, [ast.Return(node.body)])
    return None


def _definition(name: str, arguments: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    bare = ast.parse("def function(): pass").body[0]
    assert isinstance(bare, ast.FunctionDef)
    bare.name, bare.args, bare.body = name, arguments, body
    return bare


def _same_code(node: ast.Lambda, function: FunctionType) -> bool:
    """Tell whether compiling ``node`` gives the function's code: a line may hold several lambdas."""
    expression = ast.Expression(ast.fix_missing_locations(node))
    compiled = next(
        c for c in compile(expression, "<lambda>", "eval").co_consts if isinstance(c, type(function.__code__))
    )
    return all(
        getattr(compiled, part) == getattr(function.__code__, part)
        for part in ("co_code", "co_consts", "co_names", "co_varnames")
    )
