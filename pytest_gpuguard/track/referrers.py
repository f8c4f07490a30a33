"""Who keeps a leaked object alive: from it backwards to a module, a frame or a class; costly.

The collector knows who refers to whom, but for arrays: those never tell it whose memory they show. So the
arrays of a buffer are found first, in whatever holds them.
"""

from __future__ import annotations

import gc
import sys
import types
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_gpuguard.track.stacks import Places

__all__ = ["holders", "kept_by_traceback"]

_DEPTH = 10
_MOST = 400
_PATHS = 3
_NOTHING = types.SimpleNamespace()
_OURS = "pytest_gpuguard."


def holders(things: Sequence[object], places: Places) -> list[str]:
    """Return up to three ways to the things, such as ``"module mylib.pool: _CACHE['big'][0]"``."""
    toward = _toward(things)
    ways = [_root(holder, held, places) + _way(held, toward) for holder, held in _roots(things, toward)]
    return list(dict.fromkeys(map(sound, ways)))[:_PATHS]


def kept_by_traceback(things: Sequence[object]) -> bool:
    """Return whether all that keeps the things are frames that run no more: those of a traceback."""
    # A module may hold them from further off than the frame.
    found = [holder for holder, _ in _roots(things, _toward(things), nearest=False)]
    running: set[int] = set()
    for frame in sys._current_frames().values():  # noqa: SLF001 - the documented way
        step: types.FrameType | None = frame
        while step is not None:
            running.add(id(step))
            step = step.f_back
    return bool(found) and all(isinstance(one, types.FrameType) and id(one) not in running for one in found)


#: From the identity of each object on the way to it and to what it holds; the things themselves hold nothing.
_Toward = dict[int, tuple[object, object]]


def _toward(things: Sequence[object]) -> _Toward:
    return {id(thing): (thing, None) for thing in things}


def _roots(things: Sequence[object], toward: _Toward, *, nearest: bool = True) -> list[tuple[object, object]]:
    """Return where ways to the things begin, each with what it holds, and fill in the ways."""
    level: list[object] = [*things, *_unseen(things, toward)]
    found: list[tuple[object, object]] = []
    for _ in range(_DEPTH):
        outer: list[object] = []
        mine = {id(toward), id(level), id(outer), id(found), id(things)}
        for holder in gc.get_referrers(*level):
            if id(holder) in toward or id(holder) in mine or _is_ours(holder):
                continue
            known = {id(other) for other in gc.get_referents(holder)}
            held = next((thing for thing in level if id(thing) in known), None)
            if held is None:
                continue
            toward[id(holder)] = (holder, held)
            if _is_root(holder):
                found.append((holder, held))
            else:
                outer.append(holder)
        if not outer or (found and nearest):
            break
        level = outer[:_MOST]
    return found


def _is_root(holder: object) -> bool:
    return isinstance(holder, types.FrameType | type) or _is_module(holder)


def _is_module(holder: object) -> bool:
    return type(holder) is dict and vars(sys.modules.get(str(holder.get("__name__")), _NOTHING)) is holder


def _unseen(things: Iterable[object], toward: _Toward) -> list[object]:
    """Return what the collector cannot lead back from, and fill in its way to one of ``things``.

    Those are the arrays that show its memory, and dictionaries and tuples that hold nothing but such arrays.
    """
    wanted, found = {id(thing) for thing in things}, []
    for holder in gc.get_objects():
        for inner in gc.get_referents(holder):
            if id(inner) in toward:
                continue
            if _shows(inner, wanted):
                toward[id(inner)] = (inner, None)
                found.append(inner)
            elif type(inner) in {dict, tuple} and not gc.is_tracked(inner):
                held = next((one for one in gc.get_referents(inner) if _shows(one, wanted)), None)
                if held is not None:
                    toward.setdefault(id(held), (held, None))
                    toward[id(inner)] = (inner, held)
                    found.append(inner)
    return found


def _shows(thing: object, wanted: set[int]) -> bool:
    """Return whether ``thing`` is wanted, or an array of the memory of what is wanted."""
    numpy = sys.modules.get("numpy")
    if id(thing) in wanted:
        return True
    if numpy is None or not issubclass(type(thing), numpy.ndarray):
        return False
    root: Any = numpy.ndarray.base.__get__(thing)
    while root is not None and id(root) not in wanted:
        root = root.obj if type(root) is memoryview else getattr(root, "base", None)
    return root is not None


def _is_ours(holder: object) -> bool:
    if isinstance(holder, types.FrameType):
        return str(holder.f_globals.get("__name__", "")).startswith(_OURS)
    return type(holder).__module__.startswith(_OURS)


def _root(holder: object, held: object, places: Places) -> str:
    """Return the beginning of a way in words."""
    if isinstance(holder, types.FrameType):
        file, _ = places.shown(holder.f_code.co_filename)
        return f"{file}:{holder.f_lineno} {holder.f_code.co_qualname}: {_name(holder.f_locals, held)}"
    if isinstance(holder, type):
        return f"class {holder.__module__}.{holder.__qualname__}: {_name(vars(holder), held)}"
    assert isinstance(holder, dict)
    return f"module {holder['__name__']}: {_name(holder, held)}"


def _name(names: Mapping[str, object], held: object) -> str:
    return next((name for name, value in names.items() if value is held), "a value")


def _way(holder: object, toward: _Toward) -> str:
    """Return the steps from ``holder`` to the thing."""
    steps, outer = "", None
    while (held := toward[id(holder)][1]) is not None:
        steps += _step(outer, holder, held)
        outer, holder = holder, held
    return steps


def _step(outer: object, holder: object, held: object) -> str:
    """Return how ``held`` is reached from ``holder``, which ``outer`` holds."""
    if isinstance(outer, types.FunctionType) or isinstance(holder, types.CellType):
        return ""  # said with the function
    if isinstance(holder, types.FunctionType):
        return f" ({holder.__qualname__} closes over it)"
    if isinstance(holder, dict):
        name = next((key for key, value in holder.items() if value is held), None)
        return f".{name}" if _own(outer) is holder else f"[{_key(name)}]"
    if isinstance(holder, list | tuple):
        return next((f"[{index}]" for index, value in enumerate(holder) if value is held), "[...]")
    own = _own(holder)
    if own is held:
        return ""
    return next(
        (f".{name}" for name, value in (own or {}).items() if value is held), f" <{type(holder).__name__}>"
    )


def _own(thing: object) -> dict[str, object] | None:
    """Return the attributes of an instance, without running anything of its class."""
    try:
        own = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return own if type(own) is dict else None


def _key(key: object) -> str:
    return repr(key) if type(key) in {str, int, bytes} else f"<{type(key).__name__}>"
