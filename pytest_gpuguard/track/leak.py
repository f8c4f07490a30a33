"""From a suspect to a record: plain values that survive the way to the controller and the disk."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.closing import closing_methods
from pytest_gpuguard.track.stacks import Frame, Places, cut
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
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


def trace(frames: list[Frame]) -> list[dict[str, Any]]:
    """Return frames as plain values."""
    return [frame._asdict() for frame in frames]


def _fixture(fixture: Fixture, birth: Birth, places: Places, kind: str) -> dict[str, Any]:
    code = fixture.code
    # What a wider one holds may have been made by a test's teardown: then it was not itself that ended.
    ending = birth.phase == "teardown" and birth.fixture is fixture
    file, line = (places.shown(code.co_filename)[0], code.co_firstlineno) if code else ("", 0)
    if file.startswith("<site>/_pytest/"):
        file, line = "", 0
    from pytest_gpuguard.track.mending import edit

    calls = closing_methods(fixture.gave, kind) if fixture.gave is not None and not birth.apart else ()
    made = fixture.gave.__name__ if fixture.gave is not None and calls else None
    if kind == "shm" and made == "SharedMemory":
        calls = (*calls, "unlink")
    return {
        "name": next(
            (names[ending] for start, names in _XUNIT.items() if fixture.name.startswith(start)), fixture.name
        ),
        "scope": fixture.scope,
        "node": fixture.node,
        "file": file,
        "line": line,
        "yields": bool(code and code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)),
        "made": made,
        "closing": calls[0] if made else None,
        "then": calls[1] if len(calls) > 1 else None,
        "edit": edit(code, made, calls) if code and made and not ending else [],
        "ending": ending,
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
    fixtures = [fixture.code for fixture in (birth.fixture, birth.owner.fixture) if fixture]
    return cut(places.read(birth.stack, fixtures, birth.owner.code))


def record(suspect: Suspect, places: Places, judged: Judgement) -> dict[str, Any]:
    """Return the record of a leak as plain values."""
    birth, closer = suspect.birth, suspect.closer
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
        "created": trace(created(birth, places)),
        "subject": {"kind": suspect.kind} | suspect.subject(places),
        "reaped": None,
    }
