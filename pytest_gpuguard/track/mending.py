"""The edit of a fixture that ends what it made: its own line with ``yield`` and the closing call."""

from __future__ import annotations

import ast
import linecache
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["edit"]


def edit(code: CodeType, made: str, closing: str) -> list[str]:
    """Return the lines to take out (``- ...``) and to put in (``+ ...``); none where that cannot be told.

    Parameters
    ----------
    code
        Of the fixture's function.
    made
        Name of the class of its value.
    closing
        How that is closed.
    """
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    body = _body(lines)
    if body is None:
        return []
    last = body[-1]
    value = last.value if isinstance(last, ast.Return | ast.Expr) else None
    if isinstance(value, ast.Yield):
        if value.value is None or closing == "__exit__" or not isinstance(value.value, ast.Name):
            return []
        return [f"  {ast.unparse(last)}", f"+ {value.value.id}.{closing}()"]
    if not isinstance(last, ast.Return) or value is None or _returns(body) != 1:
        return []
    return [f"- {ast.unparse(last)}", *(f"+ {line}" for line in _instead(value, made, closing))]


def _instead(value: ast.expr, made: str, closing: str) -> list[str]:
    told = ast.unparse(value)
    name = (
        told
        if isinstance(value, ast.Name)
        else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", made).lower().strip("_")
    )
    if closing == "__exit__":
        return [f"with {told}:" if told == name else f"with {told} as {name}:", f"    yield {name}"]
    first = [] if told == name else [f"{name} = {told}"]
    return [*first, f"yield {name}", f"{name}.{closing}()"]


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
