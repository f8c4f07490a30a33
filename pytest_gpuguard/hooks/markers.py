"""The marks ``gpu`` and ``gpuguard``: registered, read and found again in the source."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_gpuguard.plan.declared import Asked, Site
    from pytest_gpuguard.plan.demand import Demand

__all__ = [
    "anything_declared",
    "asked_by",
    "carriers",
    "demand_of",
    "is_skipped",
    "marked_at",
    "names_in_force",
    "register",
    "site_of",
]

_KEYWORDS = "memory=, pinned=, count=1, exclusive=False, simulator=True, capability=, resources={}"
_LINES = {
    "gpu": f"gpu({_KEYWORDS}): what the test needs of devices and page-locked memory, "
    "claimed before it begins",
    "gpuguard": f"gpuguard({_KEYWORDS}): the same as gpu, for projects that have a mark of that name",
}
_KNOWN_LEAK = (
    "known_leak(kind=, match=, reason=, issue=): leaks of this test are tolerated, those of one kind or "
    "whose title or creation matches a regular expression; a reason is required"
)

_OURS = frozenset({*_LINES, "known_leak"})
_MARKED = pytest.StashKey[list[tuple[pytest.Item, frozenset[str]]]]()


def _theirs(config: pytest.Config) -> bool:
    """Return whether the project registers a mark ``gpu`` of its own."""
    lines = (line for line in config.getini("markers") if line != _LINES["gpu"])
    return any(re.match(r"\s*gpu\s*(\(|:|$)", line) for line in lines)


def register(config: pytest.Config) -> None:
    """Make our marks known, but for a ``gpu`` that the project has."""
    config.addinivalue_line("markers", _KNOWN_LEAK)
    for name, line in _LINES.items():
        if name != "gpu" or not _theirs(config):
            config.addinivalue_line("markers", line)

    # xdist says so itself; a suite with groups must run without it too.
    if not config.pluginmanager.hasplugin("xdist"):
        config.addinivalue_line(
            "markers", "xdist_group(name): tests that one worker runs, one after the other"
        )


def names_in_force(config: pytest.Config) -> tuple[str, ...]:
    """Return the names of our marks in this project; asked late, since conftest files register marks too."""
    return ("gpuguard",) if _theirs(config) else tuple(_LINES)


def anything_declared() -> bool:
    """Return whether any fixture of the suite says what it needs."""
    module = sys.modules.get("pytest_gpuguard.plan.declared")
    return module is not None and bool(module.anything_declared())


def carriers(session: pytest.Session, names: Collection[str]) -> Iterator[pytest.Item]:
    """Yield the tests that have a mark of these names of ours, on themselves or on what they are in.

    The suite is looked at once, by whoever asks first: when every hook that modifies it has added its marks.
    """
    marked = session.stash.get(_MARKED, None)
    if marked is None:
        marked = session.stash[_MARKED] = list(_marked(session.items))
    return (item for item, found in marked if not found.isdisjoint(names))


def _marked(items: Iterable[pytest.Item]) -> Iterator[tuple[pytest.Item, frozenset[str]]]:
    # Nearly all of a suite have none: what they are in is looked at once.
    inside, last, around = dict[int, frozenset[str]](), None, frozenset[str]()
    for item in items:
        if item.parent is not last:
            last = item.parent
            if id(last) not in inside:
                marks = last.iter_markers() if last is not None else ()
                inside[id(last)] = _OURS.intersection(mark.name for mark in marks)
            around = inside[id(last)]
        found = around
        for mark in item.own_markers:
            if mark.name in _OURS:
                found |= {mark.name}
        if found:
            yield item, found


def _marks(item: pytest.Item, names: tuple[str, ...]) -> Iterator[tuple[object, pytest.Mark]]:
    """Yield our marks and what they are on, the closest to the test first."""
    own = getattr(getattr(item, "callspec", None), "marks", ())
    # The mark of one parameter says more than that of the function, though pytest lists it later.
    yield from ((item, mark) for mark in own if mark.name in names)
    yield from ((node, mark) for node, mark in item.iter_markers_with_node() if mark.name in names)


def demand_of(item: pytest.Item, names: tuple[str, ...]) -> Demand | None:
    """Return what the marks of a test say; None when there are none.

    Raises
    ------
    pytest.UsageError
        Naming the test, the keyword, and what is known.
    """
    marks = [mark for _, mark in _marks(item, names)]
    if not marks:
        return None
    from pytest_gpuguard.plan.demand import closest, read

    found: list[dict[str, Any]] = []
    for mark in marks:
        try:
            if mark.args:
                message = f"takes keywords only, got {', '.join(map(repr, mark.args))}"
                raise ValueError(message)
            found.append(read(mark.kwargs))
        except ValueError as error:
            message = f"GPG501: {item.nodeid}: mark {mark.name}: {error}"
            raise pytest.UsageError(message) from None
    return closest(found)


def is_skipped(item: pytest.Item) -> bool:
    """Return whether a test will be skipped, as far as its marks say so without being evaluated."""
    if item.get_closest_marker("skip") is not None:
        return True
    conditions = (
        condition
        for mark in item.iter_markers("skipif")
        for condition in (*mark.args, mark.kwargs.get("condition", False))
    )
    return any(condition is True for condition in conditions)


def asked_by(item: pytest.Item, own: Demand | None, modules: frozenset[str]) -> Asked | None:
    """Return all that a test asks for, itself and by its fixtures; None for nothing, or where it is skipped.

    Parameters
    ----------
    own
        What its marks say.
    modules
        The modules of all tests.
    """
    from pytest_gpuguard.plan.declared import Asked, foresee, is_session_wide
    from pytest_gpuguard.plan.demand import merge

    fixtures = foresee(getattr(item, "fixturenames", ()), site_of(item, modules))
    kept = tuple(declared for declared in fixtures if is_session_wide(declared))
    passing = (declared.demand for declared in fixtures if declared not in kept)
    parts = [*filter(None, [own]), *passing]
    if not (parts or kept) or is_skipped(item):
        return None
    return Asked(merge(parts) if parts else None, kept)


def marked_at(item: pytest.Item, names: tuple[str, ...]) -> str:
    """Return file and line of the closest mark, or of what carries it where that cannot be told."""
    for node, mark in _marks(item, names):
        shown, first, lines = _source(node, item)
        pattern = re.compile(rf"\b{mark.name}\b")
        for number, line in enumerate(lines, first):
            if pattern.search(line) and (isinstance(node, pytest.Module) or line.lstrip().startswith("@")):
                return f"{shown}:{number}"
        return f"{shown}:{first}"
    return item.nodeid


def _source(node: object, item: pytest.Item) -> tuple[str, int, list[str]]:
    shown = item.location[0]
    obj = getattr(node, "obj", None)
    if isinstance(node, pytest.Module):
        return shown, 1, Path(item.path).read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        lines, first = inspect.getsourcelines(obj)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return shown, (item.location[1] or 0) + 1, []
    return shown, first, lines


def site_of(item: pytest.Item, modules: frozenset[str]) -> Site:
    """Return where a test is, as far as fixtures are concerned."""
    from pytest_gpuguard.plan.declared import Site

    cls = getattr(item, "cls", None)
    names = vars(item.module) if hasattr(item, "module") else {}
    classes = frozenset(base.__qualname__ for base in cls.__mro__) if cls is not None else frozenset()
    return Site(str(item.path), classes, frozenset(names), modules)
