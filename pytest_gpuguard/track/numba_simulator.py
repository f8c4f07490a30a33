"""numba's simulator: names and classes are wrapped, since nothing below them allocates anything.

A thing is freed when the object that owns its memory goes. Arrays are known by the array at the root of their
views; views share it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.objects import is_a, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuguard.track.living import Living

__all__ = ["NumbaSimulator"]

SOURCE = "numba simulator"

#: Functions that return arrays, with what they make.
_ARRAYS = {
    "pinned_array": ("pinned", "pinned buffer"),
    "mapped_array": ("pinned", "mapped buffer"),
    "managed_array": ("device", "managed memory"),
    "device_array": ("device", "device memory"),
    "to_device": ("device", "device memory"),
}
_DEFAULT_STREAMS = ("default_stream", "legacy_default_stream", "per_thread_default_stream")


def root_of(array: Any) -> Any:
    """Return the array that owns the memory of ``array``, which may be one of the simulator's."""
    array, ndarray = getattr(array, "_ary", array), sys.modules["numpy"].ndarray
    while isinstance(array.base, ndarray):
        array = array.base
    return array


def _namespaces() -> list[dict[str, Any]]:
    """Return the globals of all loaded modules."""
    loaded = (module for module in sys.modules.copy().values() if is_a(module, types.ModuleType))
    return [namespace_of(module) for module in loaded]


def _replace(things: list[tuple[object, object]]) -> None:
    """Put the second of each pair in the place of the first, under whatever name a module has it."""
    others = {id(thing): other for thing, other in things}
    for names in _namespaces():
        # Copied at a stroke: other threads may write.
        for name, value in names.copy().items():
            if id(value) in others:
                names[name] = others[id(value)]


def _rename(name: str, thing: object, other: object) -> None:
    """Put ``other`` in the place of ``thing`` where that is its name: it has others, which stay."""
    for names in _namespaces():
        if names.get(name) is thing:
            names[name] = other


class NumbaSimulator:
    """Tells the table what the simulator makes, and what of it went."""

    name = SOURCE

    def __init__(self, living: Living) -> None:
        self._living = living
        self._undo: list[Callable[[], None]] = []
        self._inside = False

    def attach(self, module: types.ModuleType) -> None:
        """Wrap the names of ``numba.cuda``."""
        source = sys.modules["numba.cuda.simulator.cudadrv.devicearray"]
        wrappers: list[tuple[object, object]] = []
        for name, (kind, form) in _ARRAYS.items():
            original = getattr(source, name, None)
            if original is not None:
                wrappers.append((original, self._array(original, kind, form)))
        pinned = getattr(source, "pinned", None)
        if pinned is not None:
            wrappers.append((pinned, self._pinned(pinned)))
        api = sys.modules["numba.cuda.simulator.api"]
        _replace(wrappers)
        default = functools.partial(api.stream.__new__, api.stream)
        for name in _DEFAULT_STREAMS:
            # Made without their constructor, these are no streams that anybody has to give back.
            wrappers.append((getattr(api, name), default))
            _rename(name, *wrappers[-1])
        # Under the names too that somebody gives them from now on.
        self._undo.append(lambda: _replace([(wrapper, original) for original, wrapper in wrappers]))
        self._constructor(api.stream, "stream")
        self._constructor(api.Event, "event")

    def detach(self) -> None:
        """Take the wrappers out again."""
        while self._undo:
            self._undo.pop()()

    def _array(self, original: Callable[..., Any], kind: str, form: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def make(*args: Any, **kwargs: Any) -> Any:
            # mapped_array calls device_array: the outermost name is what the suite asked for.
            outermost, self._inside = not self._inside, True
            try:
                array = original(*args, **kwargs)
            finally:
                self._inside = not outermost
            if outermost and array is not None:
                root = root_of(array)
                self._born(root, kind, form, original.__name__, int(root.nbytes))
            return array

        return make

    def _born(self, thing: object, kind: str, form: str, maker: str, nbytes: int = 0) -> None:
        living, key = self._living, (SOURCE, kind, id(thing))
        # The callback comes before the id can be given to another object.
        reference = weakref.ref(thing, lambda _: living.gone(key))

        def objects() -> list[object]:
            return [alive for alive in (reference(),) if alive is not None]

        living.born(key, kind, form, maker, SOURCE, objects, nbytes=nbytes, device=0, depth=3)

    def _pinned(self, original: Callable[..., Any]) -> Callable[..., Any]:
        living = self._living

        @contextlib.contextmanager
        def pinned(array: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            key = (SOURCE, "registered", object())
            living.born(
                key,
                "pinned",
                "registered memory",
                "pinned",
                SOURCE,
                list,
                nbytes=int(array.nbytes),
                device=0,
                depth=3,
            )
            try:
                with original(array, *args, **kwargs) as value:
                    yield value
            finally:
                living.gone(key)

        return pinned

    def _constructor(self, cls: type, kind: str) -> None:
        outer = vars(cls).get("__init__")

        def init(thing: object) -> None:
            if outer is not None:
                outer(thing)
            self._born(thing, kind, kind, cls.__name__)

        setattr(cls, "__init__", init)  # noqa: B010 - type checkers forbid what is meant here

        def restore() -> None:
            if vars(cls).get("__init__") is init:
                delattr(cls, "__init__")
                if outer is not None:
                    setattr(cls, "__init__", outer)  # noqa: B010

        self._undo.append(restore)
