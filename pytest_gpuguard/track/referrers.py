"""Who keeps a leaked object alive: from it backwards to a module, a frame, a class or a test; costly.

The collector knows who refers to whom, but for arrays: those never tell it whose memory they show. So the
arrays of a buffer are found first, in whatever holds them.
"""

from __future__ import annotations

import functools
import gc
import itertools
import operator
import sys
import types
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.objects import is_a
from pytest_gpuguard.track.stacks import HARNESS
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_gpuguard.track.stacks import Places

__all__ = ["holders", "kept_by_traceback"]

_DEPTH = 10
_MOST = 400
_PATHS = 3
_NOTHING = types.SimpleNamespace()
_OURS = "pytest_gpuguard."
#: Read in a way that runs nothing of the exception's class.
_TRACEBACK: Any = vars(BaseException)["__traceback__"]


def holders(bunches: Iterable[Sequence[object]], places: Places) -> Iterator[list[str]]:
    """Yield for each bunch of things up to three ways to it, such as ``"module pool: _CACHE['big'][0]"``."""
    untracked = None
    for things in bunches:
        untracked = untracked or _Untracked()
        toward: _Toward = {}
        (found,) = _roots([things], toward, untracked, enough=lambda _: True)
        ways = [
            _root(holder, held, places) + _way(holder if _is_item(holder) else held, toward)
            for holder, held in found
        ]
        yield list(dict.fromkeys(map(sound, ways)))[:_PATHS]


def kept_by_traceback(bunches: Sequence[Sequence[object]]) -> list[bool]:
    """Return of each bunch of things whether all that keeps it belongs to the failure of a test.

    That are frames that run no more, a traceback's, and exceptions that have come out of a test: with their
    arguments and attributes, and what was being handled when they were raised.
    """
    running: set[int] = set()
    for frame in sys._current_frames().values():  # noqa: SLF001 - the documented way
        step: types.FrameType | None = frame
        while step is not None:
            running.add(id(step))
            step = step.f_back

    def lasts(holder: object) -> bool:
        if is_a(holder, types.FrameType):
            return id(holder) in running
        return not _came_out(holder)

    # On until something lasting is found: a module may hold a thing from further off than the frame.
    found = _roots(
        bunches, {}, _Untracked(), enough=lasts, begins=lambda holder: _is_root(holder) or _came_out(holder)
    )
    return [bool(roots) and not any(lasts(holder) for holder, _ in roots) for roots in found]


#: From the identity of each object on the way to it and to what it holds; the things themselves hold nothing.
_Toward = dict[int, tuple[object, object]]


def _roots(
    bunches: Sequence[Sequence[object]],
    toward: _Toward,
    untracked: _Untracked,
    *,
    enough: Callable[[object], bool],
    begins: Callable[[object], bool] | None = None,
) -> list[list[tuple[object, object]]]:
    """Return for each bunch where ways to its things begin, each with what it holds, and fill in the ways.

    A way begins at what ``begins``, by default a module, a frame, a class or a test. A bunch is done with
    after the level in which a root is ``enough``. All go together, each with a bit of its own: what takes
    long is to look through everything that the collector knows, once for each level.
    """
    begins = begins or _is_root
    bits = {id(thing): 1 << index for index, bunch in enumerate(bunches) for thing in bunch}
    toward |= {id(thing): (thing, None) for bunch in bunches for thing in bunch}
    level = [thing for thing, _ in toward.values()]
    level += _unseen(toward, bits, untracked)
    found: list[list[tuple[object, object]]] = [[] for _ in bunches]
    going = (1 << len(bunches)) - 1
    for _ in range(_DEPTH):
        outer: list[object] = []
        lists = (toward, level, outer, found, bunches, untracked.arrays, untracked.boxes)
        ours = (*lists, *found, *bunches, *toward.values())
        mine = {id(ours), id(lists), *map(id, ours)}
        here = {id(thing): bits[id(thing)] & going for thing in level}
        for holder in gc.get_referrers(*level):
            if id(holder) in mine or _is_ours(holder):
                continue
            inner = [thing for thing in gc.get_referents(holder) if id(thing) in here]
            before = bits.get(id(holder), 0)
            new = functools.reduce(operator.or_, (here[id(thing)] for thing in inner), 0) & ~before
            if not new:
                continue
            bits[id(holder)] = before | new
            toward.setdefault(id(holder), (holder, inner[0]))
            if not begins(holder):
                outer.append(holder)
                continue
            for roots in (roots for index, roots in enumerate(found) if new >> index & 1):
                roots.append((holder, inner[0]))
        for index, roots in enumerate(found):
            if any(enough(holder) for holder, _ in roots):
                going &= ~(1 << index)
        level = [holder for holder in outer if bits[id(holder)] & going][:_MOST]
        if not level:
            break
    return found


def _is_root(holder: object) -> bool:
    return is_a(holder, types.FrameType) or is_a(holder, type) or _is_module(holder) or _is_item(holder)


def _is_item(holder: object) -> bool:
    """Return whether ``holder`` is a test as pytest has it: who keeps that, is pytest's own affair."""
    return any(
        base.__module__ == "_pytest.nodes" and base.__name__ == "Item" for base in type(holder).__mro__
    )


def _came_out(holder: object) -> bool:
    """Return whether ``holder`` is an exception that a test has not caught: the harness keeps it."""
    if not is_a(holder, BaseException):
        return False
    trace = _TRACEBACK.__get__(holder)
    outermost = trace.tb_frame.f_globals.get("__name__") if trace is not None else None
    return str(outermost).partition(".")[0] in HARNESS | {"unittest"}


def _is_module(holder: object) -> bool:
    return type(holder) is dict and vars(sys.modules.get(str(holder.get("__name__")), _NOTHING)) is holder


class _Untracked:
    """The arrays, which tell the collector nothing, and the dictionaries and tuples that it does not track.

    Found in C in all that all objects hold: a loop of ours over it takes longer than everything else.
    """

    def __init__(self) -> None:
        numpy = sys.modules.get("numpy")
        self.kinds = set(_with_subclasses(numpy.ndarray)) if numpy is not None else set()
        inside = list(itertools.filterfalse(gc.is_tracked, gc.get_referents(*gc.get_objects())))
        some = list(self._of(self.kinds | {dict, tuple}, inside))
        # Those of a class that has attributes are tracked, but tell as little.
        self.arrays = [*self.among(some), *self.among(gc.get_referrers(*self.kinds))]
        self.boxes: list[object] = list(filter(None, self._of({dict, tuple}, some)))

    def among(self, things: Sequence[Any]) -> Iterator[Any]:
        """Yield the arrays among ``things``."""
        return self._of(self.kinds, things)

    @staticmethod
    def _of(kinds: set[type], things: Sequence[Any]) -> Iterator[Any]:
        return itertools.compress(things, map(kinds.__contains__, map(type, things)))

    def holding(self, wanted: Mapping[int, object]) -> Iterator[tuple[object, list[object]]]:
        """Yield the boxes that hold any of ``wanted``, each with those; few do, so many are asked at once."""
        for some in (self.boxes[start : start + 100] for start in range(0, len(self.boxes), 100)):
            if wanted.keys().isdisjoint(map(id, gc.get_referents(*some))):
                continue
            for box in some:
                if held := [one for one in gc.get_referents(box) if id(one) in wanted]:
                    yield box, held


def _unseen(toward: _Toward, bits: dict[int, int], untracked: _Untracked) -> list[object]:
    """Return what the collector cannot lead back from, and fill in its way to one of the things and its bits.

    Those are the arrays that show its memory, and dictionaries and tuples that hold nothing but such arrays.
    """
    wanted, found = set(toward), list[object]()

    def add(inner: object, held: object, bit: int) -> None:
        if id(inner) not in toward:
            toward[id(inner)], bits[id(inner)] = (inner, held), bit
            found.append(inner)

    for array in untracked.arrays:
        if bit := bits.get(_memory(array, wanted), 0):
            add(array, None, bit)
    boxed = {id(array): array for array in untracked.among(gc.get_referents(*untracked.boxes))}
    shown = {key: bit for key, array in boxed.items() if (bit := bits.get(_memory(array, wanted), 0))}
    shown |= {key: bits[key] for key in wanted}
    for box, held in untracked.holding(shown):
        toward.setdefault(id(held[0]), (held[0], None))
        add(box, held[0], functools.reduce(operator.or_, (shown[id(one)] for one in held)))
    return found


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    narrower: type
    for narrower in type.__subclasses__(kind):
        yield from _with_subclasses(narrower)


def _memory(array: Any, wanted: set[int]) -> int:
    """Return the identity of that of ``wanted`` whose memory an array shows, 0 for none."""
    root = sys.modules["numpy"].ndarray.base.__get__(array)
    for _ in range(_DEPTH):
        if root is None or id(root) in wanted:
            break
        root = root.obj if type(root) is memoryview else _base(root)
    return id(root) if id(root) in wanted else 0


def _base(thing: Any) -> Any:
    try:
        return getattr(thing, "base", None)
    except Exception:  # noqa: BLE001 - a property of somebody else's class
        return None


def _is_ours(holder: object) -> bool:
    if is_a(holder, types.FrameType):
        return str(holder.f_globals.get("__name__", "")).startswith(_OURS)
    return type(holder).__module__.startswith(_OURS)


def _root(holder: object, held: object, places: Places) -> str:
    """Return the beginning of a way in words."""
    if is_a(holder, types.FrameType):
        file, _ = places.shown(holder.f_code.co_filename)
        return f"{file}:{holder.f_lineno} {holder.f_code.co_qualname}: {_name(holder.f_locals, held)}"
    if is_a(holder, type):
        return f"class {holder.__module__}.{holder.__qualname__}: {_name(vars(holder), held)}"
    if _is_item(holder):
        return f"test {object.__getattribute__(holder, 'name')}: item"
    assert is_a(holder, dict)
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
    if is_a(outer, types.FunctionType) or is_a(holder, types.CellType):
        return ""  # said with the function
    if is_a(holder, types.FunctionType):
        return f" ({holder.__qualname__} closes over it)"
    if is_a(holder, dict):
        name = next((key for key, value in holder.items() if value is held), None)
        return f".{name}" if _own(outer) is holder else f"[{_key(name)}]"
    if is_a(holder, list) or is_a(holder, tuple):
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
