"""What the README shows of a report is where it says, in the source as it is now."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(r"([\w/]+\.py):(\d+)(?: +([\w.]+))?", (ROOT / "README.md").read_text())


def function_at(file, line):
    """Return the qualified name of the innermost function around a line, without ``<locals>``."""
    found = ""

    def visit(node, names):
        nonlocal found
        for child in ast.iter_child_nodes(node):
            inner = names
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                inner = [*names, child.name]
                first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                if isinstance(child, ast.FunctionDef) and first <= line <= child.end_lineno:
                    found = ".".join(inner)
            visit(child, inner)

    visit(ast.parse((ROOT / file).read_text()), [])
    return found


def test_there_is_something_to_look_for():
    assert len(SHOWN) > 5
    assert any(not name for *_, name in SHOWN)


@pytest.mark.parametrize(("file", "line", "name"), SHOWN)
def test_a_line_that_is_shown_lies_in_the_function_that_is_named(file, line, name):
    # A fixture is shown without a name of its own behind it: above it stands which.
    assert function_at(file, int(line)) == (name or "chunked_solved_solver")
