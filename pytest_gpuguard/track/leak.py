"""From a suspect to a record: plain values that survive the way to the controller and the disk."""

from __future__ import annotations

import inspect
import linecache
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.closing import advised_methods
from pytest_gpuguard.track.stacks import Frame, Places, cut
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from types import CodeType

    from pytest_gpuguard.track.probe import Suspect
    from pytest_gpuguard.track.scope import Birth, Fixture
    from pytest_gpuguard.track.tracker import Judgement

__all__ = ["created", "origin", "record", "trace"]


#: pytest runs these functions, before and after a yield, through fixtures of its own; people know them by the
#: names that they wrote.
_XUNIT = {
    "_xunit_setup_module_fixture_": ("setup_module", "teardown_module"),
    "_xunit_setup_class_fixture_": ("setup_class", "teardown_class"),
    "_xunit_setup_method_fixture_": ("setup_method", "teardown_method"),
    "_xunit_setup_function_fixture_": ("setup_function", "teardown_function"),
    "_unittest_setUpClass_fixture_": ("setUpClass", "tearDownClass"),
}
_UNITTEST = frozenset({"setUpModule", "tearDownModule"})


def trace(frames: list[Frame]) -> list[dict[str, Any]]:
    """Return frames as plain values."""
    return [frame._asdict() for frame in frames]


def _own_code(fixture: Fixture, birth: Birth, places: Places) -> CodeType | None:
    """Return the code of the suite's own function of a fixture, None where only what runs it can be told.

    Plugins for async fixtures put functions of their own in its place.
    """
    code = fixture.code
    if code is None or code.co_name == fixture.name or places.shown(code.co_filename)[1] == "app":
        return code
    inside = (made for made, _ in reversed(birth.stack) if made.co_name == fixture.name)
    return next((made for made in inside if places.shown(made.co_filename)[1] == "app"), None)


def _mended(code: CodeType, gave: type, kind: str) -> dict[str, Any]:
    """Return how what a fixture gave is closed: by what its code calls already, or still has to call."""
    from pytest_gpuguard.track.mending import edit, ended, enters

    calls = advised_methods(gave, kind)
    if not calls:
        return {}
    done = ended(code, calls)
    left = [call for call in calls if call not in done]
    return {
        "made": gave.__name__,
        "closing": left[0] if left else None,
        "then": left[1] if len(left) > 1 else None,
        "closed": None if left else "__exit__" if "__exit__" in done else calls[-1],
        "entered": "__exit__" in left and enters(code),
        "edit": edit(code, gave.__name__, left) if left else [],
    }


def _name(fixture: Fixture, birth: Birth, *, ending: bool) -> str:
    names = next((names for start, names in _XUNIT.items() if fixture.name.startswith(start)), None)
    if names is None:
        return fixture.name
    # One fixture runs the functions of either spelling.
    called = (code.co_name for code, _ in birth.stack)
    return next((name for name in called if name in _UNITTEST), names[ending])


def _fixture(fixture: Fixture, birth: Birth, places: Places, kind: str) -> dict[str, Any]:
    code = _own_code(fixture, birth, places)
    # What a wider one holds may have been made by a test's teardown: then it was not itself that ended.
    ending = birth.phase == "teardown" and birth.fixture is fixture
    file, line = (places.shown(code.co_filename)[0], code.co_firstlineno) if code else ("", 0)
    if file.startswith("<site>/_pytest/"):
        file, line = "", 0
    gave = None if birth.apart or ending else fixture.gave
    return {
        "name": _name(fixture, birth, ending=ending),
        "scope": fixture.scope,
        "node": fixture.node,
        "file": file,
        "line": line,
        "yields": bool(code and code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)),
        "made": None,
        "closing": None,
        "ending": ending,
        "failed": fixture.failed,
        **(_mended(code, gave, kind) if code is not None and gave is not None else {}),
    }


def origin(birth: Birth, places: Places, kind: str = "") -> dict[str, Any]:
    """Return where a thing of a kind comes from as plain values."""
    fixture = birth.fixture or birth.owner.fixture
    return {
        "nodeid": birth.test,
        "phase": birth.phase,
        "fixture": _fixture(fixture, birth, places, kind) if fixture else None,
        "certainty": birth.certainty,
    }


def created(birth: Birth, places: Places) -> list[Frame]:
    """Return the frames from the owner inwards to the place where the thing was made."""
    fixtures = [
        code
        for fixture in (birth.fixture, birth.owner.fixture)
        if fixture
        for code in (fixture.code, _own_code(fixture, birth, places))
    ]
    return cut(places.read(birth.stack, fixtures, birth.test_code or birth.owner.code))


#: One that is assigned to an attribute, with its annotation or without.
_ASSIGNED = re.compile(r"\s*self\.(\w+)\s*(?::[^=]+)?=(?!=)")


def _attribute(birth: Birth, outermost: Frame) -> str | None:
    """Return the attribute of its instance in which a method of a test class has put it."""
    cls = outermost.function.rpartition(".")[0]
    if not cls or f"::{cls.replace('.', '::')}::" not in birth.owner.node:
        return None
    code = next((code for code, _ in birth.stack if code.co_qualname == outermost.function), None)
    line = linecache.getline(code.co_filename, outermost.line) if code else ""
    found = _ASSIGNED.match(line)
    return found[1] if found else None


def record(suspect: Suspect, places: Places, judged: Judgement) -> dict[str, Any]:
    """Return the record of a leak as plain values."""
    birth, closer = suspect.birth, suspect.closer
    frames = created(birth, places)
    return {
        "id": judged.id,
        "kind": suspect.kind,
        "code": suspect.code,
        "title": sound(suspect.title),
        "what": sound(suspect.what),
        "nbytes": suspect.nbytes,
        "worker": judged.worker,
        "pid": judged.pid,
        "origin": origin(birth, places, suspect.kind),
        "judged_at": birth.owner.scope,
        "judged_node": birth.owner.node,
        "created_at": birth.at - judged.started,
        "found_at": judged.now,
        "settled_for_s": judged.settled_for,
        "verified": judged.verified,
        "keeper": closer.keeper,
        "closing": closer.method,
        "attribute": _attribute(birth, frames[0]) if suspect.by_reference and frames else None,
        "created": trace(frames),
        "subject": {"kind": suspect.kind} | suspect.subject(places),
        "reaped": None,
    }
