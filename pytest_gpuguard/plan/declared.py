"""What fixtures need: said by a decorator on their function, found again by name and file.

Marks on fixtures are errors in pytest, and which fixture a test will get is known to pytest alone. So the
choice made here is a forecast from what is public: the names a test asks for, and the files that may govern
it. Whoever uses it must check again when the fixture is really set up.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pytest_gpuguard.plan.demand import Demand, closest, merge, read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = [
    "Asked",
    "Declared",
    "Site",
    "anything_declared",
    "declared_by",
    "foresee",
    "gpu_demand",
    "is_session_wide",
]

_ATTRIBUTE = "__gpuguard_demand__"
_Function = TypeVar("_Function", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """The demand of one fixture: its name, class (``""`` outside of any), file and line."""

    name: str
    owner: str
    file: str
    line: int
    demand: Demand


@dataclass(frozen=True, slots=True)
class Site:
    """Where a test is.

    Attributes
    ----------
    file
        Its module.
    classes
        Qualified names of its class and the bases of that.
    names
        What its module defines.
    modules
        The modules of all tests: what they declare is nobody else's.
    """

    file: str
    classes: Collection[str] = ()
    names: Collection[str] = ()
    modules: Collection[str] = ()


class Asked(NamedTuple):
    """What a test asks for.

    Attributes
    ----------
    own
        Claimed while it runs, as its marks and its fixtures say.
    kept
        The session fixtures that it uses: their parts are kept until the process ends.
    """

    own: Demand | None
    kept: tuple[Declared, ...] = ()

    @property
    def whole(self) -> Demand:
        """All of it."""
        return merge([*filter(None, [self.own]), *(declared.demand for declared in self.kept)])


_by_name: dict[str, list[Declared]] = {}


def gpu_demand(**arguments: object) -> Callable[[_Function], _Function]:
    """Say what a fixture needs, with the keywords of the mark ``gpu``; goes below ``@pytest.fixture``.

    Its part is claimed together with the rest of what a test needs, before the test begins, and that of a
    fixture of wider scope is kept until its finaliser.

    Raises
    ------
    TypeError
        When it is put on anything but a function, such as a finished fixture.
    ValueError
        When a keyword is unknown or has a value that it does not take.
    """
    demand = closest([read(arguments)])

    def decorate(function: _Function) -> _Function:
        if not isinstance(function, FunctionType):
            message = f"@gpu_demand belongs below @pytest.fixture, on the function itself; got {function!r}"
            raise TypeError(message)
        code = function.__code__
        owner = function.__qualname__.rpartition(".")[0]
        declared = Declared(function.__name__, owner, code.co_filename, code.co_firstlineno, demand)
        setattr(function, _ATTRIBUTE, declared)
        _by_name.setdefault(declared.name, []).append(declared)
        return function

    return decorate


def declared_by(function: object) -> Declared | None:
    """Return what was declared on the function of a fixture."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, Declared) else None


def anything_declared() -> bool:
    """Return whether any fixture has a demand: nearly always none has, and nothing need be foreseen."""
    return bool(_by_name)


def foresee(names: Iterable[str], site: Site) -> list[Declared]:
    """Return the declarations that most likely govern fixtures ``names`` of a test at ``site``."""
    found = (_governing(_by_name.get(name, ()), name, site) for name in names)
    return [declared for declared in found if declared is not None]


def _governing(candidates: Iterable[Declared], name: str, site: Site) -> Declared | None:
    of_class: list[Declared] = []
    of_module: list[Declared] = []
    of_conftest: list[Declared] = []
    of_plugin: list[Declared] = []
    for declared in candidates:
        path = Path(declared.file)
        if declared.file == site.file:
            if not declared.owner:
                of_module.append(declared)
            elif declared.owner in site.classes:
                of_class.append(declared)
        elif path.name == "conftest.py":
            if Path(site.file).is_relative_to(path.parent):
                of_conftest.append(declared)
        elif declared.file not in site.modules:
            of_plugin.append(declared)
    nearest = max(of_conftest, key=lambda declared: len(Path(declared.file).parts), default=None)
    # What the module defines without a demand governs all the same.
    outside = [] if name in site.names else [*filter(None, [nearest]), *reversed(of_plugin)]
    return next(iter([*reversed(of_class), *reversed(of_module), *outside]), None)


@cache
def is_session_wide(declared: Declared) -> bool:
    """Return whether a fixture says in its decorator that its scope is the session.

    Its scope is known to pytest alone until it is set up. A scope that is computed is not seen.
    """
    lines = linecache.getlines(declared.file)[declared.line - 1 :]
    try:
        (function,) = ast.parse(textwrap.dedent("".join(inspect.getblock(lines)))).body
    except (SyntaxError, ValueError):
        return False
    return any(
        keyword.arg == "scope"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value == "session"
        for decorator in getattr(function, "decorator_list", ())
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    )
