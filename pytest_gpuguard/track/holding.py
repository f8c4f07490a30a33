"""Does one thing hold another: the thread of a pool is the pool's, whoever made the pool start it.

A pool that a session fixture gave starts its threads in whatever test needs them first. So what is born in a
test and is in the hands of a wider fixture is judged when that fixture ends.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.objects import instances, is_a
from pytest_gpuguard.track.stacks import HARNESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_gpuguard.track.scope import Owner

__all__ = ["Names", "Namespace", "apart", "behind", "holds", "suspended"]

_MOST = 5000
# Through these everything is reached from everywhere: globals, classes, the running test itself.
_NOT_THROUGH = (types.ModuleType, types.BuiltinFunctionType, types.FrameType, type)
# What two things have in common that have nothing to do with each other.
_EVERYBODYS = (
    *_NOT_THROUGH,
    *(types.FunctionType, types.CodeType, types.NoneType, types.EllipsisType),
    *(str, bytes, int, float, complex),
)


def _is_passage(thing: object, shut: tuple[type, ...]) -> bool:
    return not issubclass(type(thing), shut) and type(thing).__module__.partition(".")[0] not in HARNESS


def _shut() -> tuple[type, ...]:
    """Return the classes of what nothing is reached through."""
    # Python has one policy for loops, which looks after the children of all of them, whoever asked for it.
    policy = vars(sys.modules.get("asyncio.events", types)).get("AbstractEventLoopPolicy")
    return (*_NOT_THROUGH, policy) if policy else _NOT_THROUGH


def behind(thing: object) -> list[object]:
    """Return what ``thing`` refers to; arrays do not tell the collector whose memory they show."""
    if is_a(thing, types.FunctionType):
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


#: Of a module, or of a class.
Namespace = dict[str, Any] | types.MappingProxyType[str, Any]


class Names:
    """What a fixture leaves under names of its class and modules, as ``setup_class`` does.

    Parameters
    ----------
    namespaces
        Of the class and the modules, before the fixture is set up.
    """

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        # Copied at a stroke: other threads may write.
        self._before = [(space, space.copy()) for space in namespaces]
        self._named: list[tuple[Namespace, list[str]]] = []

    def read(self) -> None:
        """Note what is new, or another thing than before; the fixture is set up. Nothing is kept alive."""
        for space, before in self._before:
            names = [name for name, value in space.copy().items() if before.get(name) is not value]
            if names:
                self._named.append((space, names))
        self._before.clear()

    def values(self) -> list[object]:
        """Return what is there now."""
        return [space.get(name) for space, names in self._named for name in names]


def _reached(values: Iterable[object], seen: dict[int, object]) -> Iterator[object]:
    """Yield the values and what can be reached from them, nearest first; no code of the suite runs.

    Parameters
    ----------
    values
        Where to begin.
    seen
        Takes by its ``id`` all that is or would be yielded: who finds as many as ``_MOST`` has not seen all.
    """
    shut, waiting = _shut(), deque(values)
    seen.update((id(value), value) for value in waiting)
    while waiting and len(seen) < _MOST:
        thing = waiting.popleft()
        yield thing
        for other in behind(thing) if _is_passage(thing, shut) else ():
            if id(other) not in seen:
                seen[id(other)] = other
                waiting.append(other)


def holds(value: object, things: Collection[object]) -> bool:
    """Return whether one of ``things`` is ``value`` or can be reached from it.

    Looks at the nearest few thousand objects at most.
    """
    wanted = {id(thing) for thing in things}
    return any(id(thing) in wanted for thing in _reached([value], {}))


def apart(value: object, things: Collection[object]) -> bool:
    """Return whether surely nothing that can be reached from ``value`` can be from ``things`` as well.

    An object gives its thread a queue or an event, and need not know the thread, nor that the object.
    """
    near, far = dict[int, object](), dict[int, object]()
    for values, seen in (([value], near), (things, far)):
        deque(_reached(values, seen), maxlen=0)
        if len(seen) >= _MOST:
            return False
    return not any(key in far and not _is_everybodys(thing) for key, thing in near.items())


def _is_everybodys(thing: object) -> bool:
    return issubclass(type(thing), _EVERYBODYS) or (type(thing) in {tuple, frozenset} and not thing)
