"""The edit of a fixture that ends what it made: its own line with ``yield`` and the closing call."""

from __future__ import annotations

import ast
import keyword
import linecache
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

__all__ = ["edit"]


def edit(code: CodeType, made: str, closing: Sequence[str]) -> list[str]:
    """Return the lines to take out (``- ...``) and to put in (``+ ...``); none where that cannot be told.

    Parameters
    ----------
    code
        Of the fixture's function.
    made
        Name of the class of its value.
    closing
        How that is closed, one call after the other.
    """
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    body = _body(lines)
    if body is None:
        return []
    last = body[-1]
    value = last.value if isinstance(last, ast.Return | ast.Expr) else None
    if isinstance(value, ast.Yield):
        if value.value is None or "__exit__" in closing or not isinstance(value.value, ast.Name):
            return []
        return [f"  {ast.unparse(last)}", *(f"+ {call}" for call in _calls(value.value.id, closing))]
    if not isinstance(last, ast.Return) or value is None or _returns(body) != 1:
        return []
    if isinstance(value, ast.IfExp | ast.BoolOp):
        return []  # it may be None as well
    name = value.id if isinstance(value, ast.Name) else _free_name(made, body)
    return [f"- {ast.unparse(last)}", *(f"+ {line}" for line in _instead(value, name, closing))]


def _calls(name: str, closing: Sequence[str]) -> list[str]:
    return [f"{name}.{method}()" for method in closing]


def _free_name(made: str, body: list[ast.stmt]) -> str:
    """Return a name for an object of the class ``made`` that means nothing else in the function."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", made).lower().strip("_")
    used = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return f"{name}_" if name in used or keyword.iskeyword(name) else name


def _instead(value: ast.expr, name: str, closing: Sequence[str]) -> list[str]:
    told = ast.unparse(value)
    if "__exit__" in closing:
        return [f"with {told}:" if told == name else f"with {told} as {name}:", f"    yield {name}"]
    first = [] if told == name else [f"{name} = {told}"]
    return [*first, f"yield {name}", *_calls(name, closing)]


def _body(lines: list[str]) -> list[ast.stmt] | None:
    """Return the statements of the function that begins with ``lines``."""
    # Up to the first line that is no longer part of it: more would not be one function, less would not parse.
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    end, begun = len(lines), False
    for number, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if begun and line.strip() and depth <= indent and not line.lstrip().startswith(")"):
            end = number
            break
        begun = begun or line.lstrip().startswith(("def ", "async def "))
    try:
        (function,) = ast.parse(textwrap.dedent("".join(lines[:end]))).body
    except (SyntaxError, ValueError):
        return None
    return function.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _returns(body: list[ast.stmt]) -> int:
    return sum(isinstance(node, ast.Return) for statement in body for node in ast.walk(statement))
