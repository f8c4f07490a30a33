"""What the source of a fixture tells: how it ends what it gives, and the edit by which it would."""

from __future__ import annotations

import ast
import keyword
import linecache
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType

__all__ = ["edit", "ended", "enters"]

#: What takes something to end it later, by the last part of its name, and what it will call; "" is all.
_TAKERS = {
    "closing": "close",
    "aclosing": "close",
    "enter_context": "__exit__",
    "push": "__exit__",
    "gpu_closing": "",
    "module_gpu_closing": "",
    "session_gpu_closing": "",
}


def enters(code: CodeType) -> bool:
    """Return whether the function calls ``__enter__`` itself."""
    return any(isinstance(node, ast.Attribute) and node.attr == "__enter__" for node in _nodes(_body(code)))


def ended(code: CodeType, closing: Sequence[str]) -> set[str]:
    """Return which of the calls that close what a fixture gives its own code makes, or has made.

    With ``"__exit__"`` among them where a ``with`` does it.

    Parameters
    ----------
    code
        Of the fixture's function.
    closing
        How what it gives is closed, one call after the other.
    """
    body = _body(code)
    own = list(_own(body))
    gives = [node for node in own if isinstance(node, ast.Return | ast.Yield)]
    given = [node.value for node in gives if node.value]
    names = {value.id for value in given if isinstance(value, ast.Name)}
    # What is called before that begins it anew, or gives up.
    line = max((node.lineno for node in gives), default=0)
    early = {node.func for node in own if isinstance(node, ast.Call) and node.lineno < line}
    nodes = [node for node in _nodes(body) if node not in early]
    done = set[str]().union(*map(_taken, given), *(_ends(node, names) for node in nodes))
    if "" in done:
        return set(closing)
    if "__exit__" in done:
        # Of two calls it is the second: a child is waited for, the socket of a server is closed.
        done.update(closing[1:] or closing)
    return done & {*closing, "__exit__"}


def _ends(node: ast.AST, names: set[str]) -> set[str]:
    """Return what ``node`` calls of what has one of the ``names``, now or later."""

    def named(*nodes: ast.expr | None) -> bool:
        return any(isinstance(node, ast.Name) and node.id in names for node in nodes)

    match node:
        case ast.Attribute(value=value, attr=attr) if named(value):
            return {attr}
        case ast.Call(args=args) if named(*args):
            return _taken(node)
        case ast.Assign(targets=targets, value=value) if named(*targets):
            return _taken(value)
        case ast.withitem(context_expr=value, optional_vars=name) if named(value, name):
            return _taken(value) or {"__exit__"}
    return set()


def _taken(value: ast.expr) -> set[str]:
    """Return what will be called, if ``value`` is a call of what takes something to end it later."""
    name = ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else None
    return {_TAKERS[name]} if name in _TAKERS else set()


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
    body = _body(code)
    if not body:
        return []
    last = body[-1]
    value = last.value if isinstance(last, ast.Return | ast.Expr) else None
    if isinstance(value, ast.Yield):
        if value.value is None or "__exit__" in closing or not isinstance(value.value, ast.Name):
            return []
        return [f"  {ast.unparse(last)}", *(f"+ {call}" for call in _calls(value.value.id, closing))]
    # One of two may be None.
    if not isinstance(last, ast.Return) or _returns(body) != 1 or isinstance(value, ast.IfExp | ast.BoolOp):
        return []
    return [] if value is None else _yielding(code, body, value, made, closing)


def _yielding(
    code: CodeType, body: list[ast.stmt], value: ast.expr, made: str, closing: Sequence[str]
) -> list[str]:
    """Return the edit of what ends with ``return value``."""
    name = value.id if isinstance(value, ast.Name) else _free_name(made, body)
    out = body[-1:]
    if "__exit__" in closing and enters(code):
        found = _without_entering(body, value)
        if found is None:
            return []
        out, value = found
    return [
        *(f"- {ast.unparse(statement)}" for statement in out),
        *(f"+ {line}" for line in _instead(value, name, closing)),
    ]


def _without_entering(body: list[ast.stmt], value: ast.expr) -> tuple[list[ast.stmt], ast.expr] | None:
    """Return the statements that a ``with`` replaces, and what it enters in their place."""
    if (manager := _entered(value)) is not None:
        return body[-1:], manager
    before = body[-2] if len(body) > 1 else None
    manager = _entered(before.value) if isinstance(before, ast.Expr) else None
    return (body[-2:], value) if manager is not None and ast.dump(manager) == ast.dump(value) else None


def _entered(value: ast.expr) -> ast.expr | None:
    """Return what ``value`` enters, if it is a call of ``__enter__``."""
    match value:
        case ast.Call(func=ast.Attribute(value=manager, attr="__enter__")):
            return manager
    return None


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


def _body(code: CodeType) -> list[ast.stmt]:
    """Return the statements of a function, none where its source cannot be had."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
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
        return []
    return function.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else []


def _nodes(body: list[ast.stmt]) -> list[ast.AST]:
    return [node for statement in body for node in ast.walk(statement)]


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the nodes of a function, but of those inside of it only that they are there."""
    waiting = list[ast.AST](body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _returns(body: list[ast.stmt]) -> int:
    return sum(isinstance(node, ast.Return) for statement in body for node in ast.walk(statement))
