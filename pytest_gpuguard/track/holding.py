"""Does one thing hold another: the thread of a pool is the pool's, whoever made the pool start it.

A pool that a session fixture gave starts its threads in whatever test needs them first. So what is born in a
test and is in the hands of a wider fixture is judged when that fixture ends.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import deque
from typing import TYPE_CHECKING

from pytest_gpuguard.track.objects import instances
from pytest_gpuguard.track.stacks import HARNESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pytest_gpuguard.track.scope import Owner

__all__ = ["behind", "holds", "suspended"]

_MOST = 5000
# Through these everything is reached from everywhere: globals, classes, the running test itself.
_NOT_THROUGH = (types.ModuleType, types.BuiltinFunctionType, types.FrameType, type)


def _is_passage(thing: object, shut: tuple[type, ...]) -> bool:
    return not isinstance(thing, shut) and type(thing).__module__.partition(".")[0] not in HARNESS


def _shut() -> tuple[type, ...]:
    """Return the classes of what nothing is reached through."""
    # Python has one policy for loops, which looks after the children of all of them, whoever asked for it.
    policy = vars(sys.modules.get("asyncio.events", types)).get("AbstractEventLoopPolicy")
    return (*_NOT_THROUGH, policy) if policy else _NOT_THROUGH


def behind(thing: object) -> list[object]:
    """Return what ``thing`` refers to; arrays do not tell the collector whose memory they show."""
    if isinstance(thing, types.FunctionType):
        # What it has closed over is its own; its globals are everybody's.
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    found = gc.get_referents(thing)
    numpy = sys.modules.get("numpy")
    # By its type and the type's own descriptor: nothing that a subclass defines may run.
    if numpy is not None and issubclass(type(thing), numpy.ndarray):
        found.append(numpy.ndarray.base.__get__(thing))
    return found


def suspended(owners: Iterable[Owner]) -> list[tuple[Owner, object]]:
    """Return the locals of each owner's fixture that waits at its ``yield``."""
    by_code = {owner.code: owner for owner in owners if owner.code is not None}
    generators = instances("types:GeneratorType", "types:AsyncGeneratorType") if by_code else []
    found: list[tuple[Owner, object]] = []
    for generator in generators:
        code = getattr(generator, "gi_code", None) or getattr(generator, "ag_code", None)
        frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        if code in by_code and frame is not None:
            found.append((by_code[code], list(frame.f_locals.values())))
    return found


def holds(value: object, things: Collection[object]) -> bool:
    """Return whether one of ``things`` is ``value`` or can be reached from it; no code of the suite runs.

    Looks at the nearest few thousand objects at most.
    """
    wanted, shut = {id(thing) for thing in things}, _shut()
    seen, waiting = {id(value)}, deque([value])
    while waiting and len(seen) < _MOST:
        thing = waiting.popleft()
        if id(thing) in wanted:
            return True
        for other in behind(thing) if _is_passage(thing, shut) else ():
            if id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return False
