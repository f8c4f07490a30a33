"""Who keeps a leaked object alive: from it backwards to a module, a frame or a class; costly.

The collector knows who refers to whom, but for arrays: those never tell it whose memory they show. So the
arrays of a buffer are found first, in whatever holds them.
"""

from __future__ import annotations

import gc
import sys
import types
from typing import TYPE_CHECKING

from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gpuguard.track.stacks import Places

__all__ = ["holders"]

_DEPTH = 10
_MOST = 400
_PATHS = 3
_NOTHING = types.SimpleNamespace()
_OURS = "pytest_gpuguard."


def holders(things: Sequence[object], places: Places) -> list[str]:
    """Return up to three ways to the things, such as ``"module mylib.pool: _CACHE['big'][0]"``."""
    # From each object to what it holds on the way to a thing; the things themselves hold nothing.
    toward: dict[int, tuple[object, object]] = {id(thing): (thing, None) for thing in things}
    level: list[object] = [*things, *_arrays(things, toward)]
    found: list[str] = []
    for _ in range(_DEPTH):
        outer: list[object] = []
        mine = {id(toward), id(level), id(outer), id(found), id(things), id(locals())}
        for holder in gc.get_referrers(*level):
            if id(holder) in toward or id(holder) in mine or _is_ours(holder):
                continue
            held = next(
                (thing for thing in level if any(other is thing for other in gc.get_referents(holder))), None
            )
            if held is None:
                continue
            toward[id(holder)] = (holder, held)
            root = _root(holder, held, places)
            if root is None:
                outer.append(holder)
            else:
                found.append(sound(root + _way(held, toward)))
        if found or not outer:
            break
        level = outer[:_MOST]
    return list(dict.fromkeys(found))[:_PATHS]


def _arrays(things: Iterable[object], toward: dict[int, tuple[object, object]]) -> list[object]:
    """Return the arrays that show the memory of one of ``things``, wherever they are held."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return []
    wanted, found = {id(thing) for thing in things}, []
    for holder in gc.get_objects():
        for array in gc.get_referents(holder):
            if not issubclass(type(array), numpy.ndarray) or id(array) in toward:
                continue
            root = array
            while root is not None and id(root) not in wanted:
                root = root.obj if type(root) is memoryview else getattr(root, "base", None)
            if root is not None:
                toward[id(array)] = (array, None)
                found.append(array)
    return found


def _is_ours(holder: object) -> bool:
    if isinstance(holder, types.FrameType):
        return str(holder.f_globals.get("__name__", "")).startswith(_OURS)
    return type(holder).__module__.startswith(_OURS)


def _root(holder: object, held: object, places: Places) -> str | None:
    """Return the beginning of a way, when ``holder`` is where it begins."""
    if isinstance(holder, types.FrameType):
        name = next((name for name, value in holder.f_locals.items() if value is held), "a value")
        file, _ = places.shown(holder.f_code.co_filename)
        return f"{file}:{holder.f_lineno} {holder.f_code.co_qualname}: {name}"
    if type(holder) is dict and vars(sys.modules.get(str(holder.get("__name__")), _NOTHING)) is holder:
        name = next((name for name, value in holder.items() if value is held), "?")
        return f"module {holder['__name__']}: {name}"
    if isinstance(holder, type):
        name = next((name for name, value in vars(holder).items() if value is held), "?")
        return f"class {holder.__module__}.{holder.__qualname__}: {name}"
    return None


def _way(holder: object, toward: dict[int, tuple[object, object]]) -> str:
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
