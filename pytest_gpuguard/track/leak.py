"""From a suspect to a record: plain values that survive the way to the controller and the disk."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.track.closing import closing_method
from pytest_gpuguard.track.stacks import Frame, Places, capture, cut
from pytest_gpuguard.track.threads import keeper_of
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from pytest_gpuguard.track.scope import Birth, Fixture
    from pytest_gpuguard.track.threads import ThreadSuspect

__all__ = ["Judgement", "origin", "thread_leak", "trace"]


class Judgement(NamedTuple):
    """When and how a suspect was judged.

    Attributes
    ----------
    serial
        Number of the leak in its process.
    worker, pid
        The process.
    now
        Seconds since the run's start.
    started
        The run's start in monotonic seconds.
    settled_for
        Seconds given to the suspect to go.
    verified
        False when a failing test's traceback may be what keeps it alive.
    """

    serial: int
    worker: str
    pid: int
    now: float
    started: float
    settled_for: float
    verified: bool


def trace(frames: list[Frame]) -> list[dict[str, Any]]:
    """Return frames as plain values."""
    return [frame._asdict() for frame in frames]


def _fixture(fixture: Fixture, places: Places) -> dict[str, Any]:
    code = fixture.code
    file, line = (places.shown(code.co_filename)[0], code.co_firstlineno) if code else ("", 0)
    return {
        "name": fixture.name,
        "scope": fixture.scope,
        "node": fixture.node,
        "file": file,
        "line": line,
        "yields": bool(code and code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)),
        "made": fixture.made.__name__ if fixture.made else None,
        "closing": closing_method(fixture.made) if fixture.made else None,
    }


def origin(birth: Birth, places: Places) -> dict[str, Any]:
    """Return where a thing comes from as plain values."""
    fixture = birth.fixture or birth.owner.fixture
    return {
        "nodeid": birth.test,
        "phase": birth.phase,
        "fixture": _fixture(fixture, places) if fixture else None,
        "certainty": birth.certainty,
    }


def created(birth: Birth, places: Places) -> list[Frame]:
    """Return the frames from the owner inwards to the place where the thing was made."""
    fixtures = [fixture.code for fixture in (birth.fixture, birth.owner.fixture) if fixture]
    return cut(places.read(birth.stack, fixtures, birth.owner.code))


def thread_leak(suspect: ThreadSuspect, places: Places, judged: Judgement) -> dict[str, Any]:
    """Return the record of a leaked thread."""
    thread, birth = suspect.thread, suspect.birth
    keeper = keeper_of(thread)
    running = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way
    return {
        "id": f"{judged.worker}-{judged.serial}",
        "kind": "thread",
        "code": "GPG101",
        "worker": judged.worker,
        "pid": judged.pid,
        "origin": origin(birth, places),
        "judged_at": birth.owner.scope,
        "judged_node": birth.owner.node,
        "created_at": birth.at - judged.started,
        "found_at": judged.now,
        "settled_for_s": judged.settled_for,
        "verified": judged.verified,
        "created": trace(created(birth, places)),
        "subject": {
            "kind": "thread",
            "name": sound(thread.name),
            "daemon": thread.daemon,
            "target": birth.what,
            "keeper": type(keeper).__name__ if keeper is not None else None,
            "closing": closing_method(type(keeper)) if keeper is not None else None,
            "now": trace(places.read(capture(running))),
        },
        "reaped": None,
    }
