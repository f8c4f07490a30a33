"""Whoever follows a batch by the docs finds every file and every name where they say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/concepts/solver.md").read_text()
FILES = sorted(set(re.findall(r"[\w/]+\.py\b", PAGE)))
MODULES = [path.relative_to(ROOT) for path in (ROOT / "solver").rglob("*.py") if path.stem[:2] != "__"]
#: `Class.method` and `Class.method()`, and functions behind the file that defines them, or `in` it.
METHODS = sorted(set(re.findall(r"`([A-Z]\w+)\.([a-z_]\w+)(?:\(\))?`", PAGE)))
FOLLOWING = re.findall(r"\*\*`([\w/]+)\.py`\*\*, `(\w+)`", PAGE)
INSIDE = [(file, name) for name, file in re.findall(r"`(\w+)`\s+in\s+`([\w/]+)\.py`", PAGE)]
FUNCTIONS = sorted({*FOLLOWING, *INSIDE})


def test_there_is_something_to_look_for():
    assert len(FILES) > 25
    assert len(METHODS) > 4
    assert FOLLOWING
    assert len(INSIDE) > 3


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_named_exists(file):
    assert (ROOT / file).exists() or (ROOT / "solver" / file).exists()


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_a_method_that_is_named_exists(owner, method):
    modules = [importlib.import_module(".".join(path.with_suffix("").parts)) for path in MODULES]
    assert any(hasattr(vars(module).get(owner), method) for module in modules)


@pytest.mark.parametrize(("file", "name"), FUNCTIONS)
def test_a_function_that_is_named_exists(file, name):
    module = importlib.import_module(f"solver.{file.replace('/', '.')}")
    classes = [found for found in vars(module).values() if isinstance(found, type)]
    assert any(hasattr(place, name) for place in (module, *classes))


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", PAGE))
def test_a_link_leads_somewhere(link):
    assert (ROOT / "docs/concepts" / link).exists()
