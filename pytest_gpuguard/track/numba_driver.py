"""numba on a real driver: its driver entry points are wrapped, so that true frees are seen as well.

All of numba goes through one object whose functions are bound when they are first used; wrapping them there
does not depend on what the suite imported before, nor on who manages the memory. Nothing is initialised: a
wrapper binds its function when it is first called.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.devices.trim import flush_numba
from pytest_gpuguard.track.living import DRIVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from pytest_gpuguard.track.living import Living

__all__ = ["NumbaDriver", "flush"]

SOURCE = DRIVER


class _Made(NamedTuple):
    """What a call of an entry point makes: ``place`` says which kind of handle its free gets."""

    place: str
    kind: str
    form: str
    handle: int | None = None  # which argument; None for the result
    nbytes: int | None = None


_MAKE = {
    "cuMemHostAlloc": _Made("host", "pinned", "pinned buffer", nbytes=0),
    "cuMemHostRegister": _Made("registered", "pinned", "registered memory", handle=0, nbytes=1),
    "cuMemAlloc": _Made("device", "device", "device memory", nbytes=0),
    "cuMemAllocManaged": _Made("device", "device", "managed memory", nbytes=0),
    "cuStreamCreate": _Made("stream", "stream", "stream"),
    "cuEventCreate": _Made("event", "event", "event"),
}
_FREE = {
    "cuMemFreeHost": "host",
    "cuMemHostUnregister": "registered",
    "cuMemFree": "device",
    "cuStreamDestroy": "stream",
    "cuEventDestroy": "event",
}
_FREED_BY = {place: name for name, place in _FREE.items()}
_DEVICE_MAP = 0x02  # CU_MEMHOSTALLOC_DEVICEMAP and CU_MEMHOSTREGISTER_DEVICEMAP
#: numba's finalizers, by the function that makes them, with the place of what they free.
_FINALIZERS = {
    "_hostalloc_finalizer": "host",
    "_pin_finalizer": "registered",
    "_alloc_finalizer": "device",
    "_stream_finalizer": "stream",
    "_event_finalizer": "event",
}


def number(handle: Any) -> int:
    """Return a handle as a number: an int, a type of the CUDA bindings or of ctypes."""
    try:
        return int(handle)
    except TypeError:
        return int(handle.value or 0)


class Object(NamedTuple):
    """A live object of numba, and the handle that it will free."""

    place: str
    handle: int
    nbytes: int
    thing: object


def live_objects() -> Iterator[Object]:
    """Yield numba's live objects by their finalizers; those see what was made before anybody watched."""
    for finalizer in getattr(weakref.finalize, "_registry", {}).copy():
        alive = finalizer.peek()
        if alive is None or getattr(alive[1], "__module__", None) != "numba.cuda.cudadrv.driver":
            continue
        thing, function = alive[0], alive[1]
        maker = function.__qualname__.partition(".")[0]
        closure = inspect.getclosurevars(function).nonlocals
        if maker in _FINALIZERS:
            handle = number(closure.get("ptr", closure.get("handle")))
            yield Object(_FINALIZERS[maker], handle, int(getattr(thing, "size", 0)), thing)
        elif maker == "OwnedPointer":
            # What arrays hold: it knows its memory by a weak proxy alone.
            with_memory = closure.get("mem")
            try:
                yield Object("owned", number(with_memory.handle), 0, thing)  # type: ignore[union-attr]
            except (ReferenceError, AttributeError):
                continue


def _objects(place: str, handle: int) -> list[object]:
    mine = [found for found in live_objects() if found.handle == handle and found.place in {place, "owned"}]
    # What arrays hold, where there is any: numba itself keeps a table of the memory behind that.
    owned = [found.thing for found in mine if found.place == "owned"]
    return owned or [found.thing for found in mine]


def flush() -> None:
    """Free what waits in numba's queues: ten dropped arrays may be alive there.

    And what numba's cache of launch configurations keeps: the streams of the last 128 kinds of launch.
    """
    dispatcher: Any = getattr(sys.modules.get("numba.cuda.dispatcher"), "CUDADispatcher", None)
    forget = getattr(getattr(dispatcher, "configure", None), "cache_clear", None)
    try:
        if forget is not None:
            forget()
        flush_numba()
    except Exception:  # noqa: BLE001 - of a broken context every free fails, which is not ours to report
        return


class NumbaDriver:
    """Tells the table what numba's driver makes and frees."""

    name = SOURCE

    def __init__(self, living: Living) -> None:
        self._living = living
        self._undo: list[Callable[[], None]] = []
        self.unable: str | None = None

    def attach(self, module: ModuleType) -> None:
        """Wrap the entry points of the driver in ``numba.cuda.cudadrv.driver``."""
        driver = getattr(module, "driver", None)
        if not hasattr(type(driver), "_cuda_python_wrap_fn"):
            self.unable = "this numba binds its driver in another way"
            return
        for found in list(live_objects()):
            self._adopt(driver, found)
        for name, made in _MAKE.items():
            self._replace(driver, name, partial(self._making, driver, name, made))
        for name, place in _FREE.items():
            self._replace(driver, name, partial(self._freeing, place))
        self._replace(driver, "cuDevicePrimaryCtxReset", self._resetting)

    def detach(self) -> None:
        """Take the wrappers out again."""
        while self._undo:
            self._undo.pop()()

    def _replace(self, driver: Any, name: str, wrap: Callable[[Callable[..., Any]], Any]) -> None:
        bound = vars(driver).get(name)
        wrapper = wrap(bound or _late(driver, name))
        # numba logs the name of the function that frees.
        wrapper.__name__ = name
        vars(driver)[name] = wrapper

        def restore() -> None:
            if vars(driver).get(name) is not wrapper:
                return  # somebody has wrapped ours since: then ours must stay below theirs
            if bound is not None:
                vars(driver)[name] = bound
            else:
                del vars(driver)[name]  # bound when it is next used

        self._undo.append(restore)

    def _making(self, driver: Any, name: str, made: _Made, call: Callable[..., Any]) -> Callable[..., Any]:
        living, place, kind = self._living, made.place, made.kind

        def make(*args: Any) -> Any:
            result = call(*args)
            handle = number(result if made.handle is None else args[made.handle])
            living.born(
                (SOURCE, place, handle),
                kind,
                _form(made, args),
                name,
                SOURCE,
                lambda: _objects(place, handle),
                nbytes=0 if made.nbytes is None else int(args[made.nbytes]),
                device=_current(driver),
                free=lambda: getattr(driver, _FREED_BY[place])(handle),
            )
            return result

        return make

    def _freeing(self, place: str, call: Callable[..., Any]) -> Callable[..., Any]:
        living = self._living

        def free(handle: Any) -> Any:
            # Before the free: right after it another thread may get the same handle for a new thing.
            key = (SOURCE, place, number(handle))
            thing = living.gone(key)
            try:
                return call(handle)
            except BaseException:
                living.back(key, thing)
                raise

        return free

    def _resetting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def reset(device: Any) -> Any:
            result = call(device)
            self._living.drop(SOURCE, number(device))
            return result

        return reset

    def _adopt(self, driver: Any, found: Object) -> None:
        if found.place == "owned":
            return
        place, handle = found.place, found.handle
        made = next(entry for entry in _MAKE.values() if entry.place == place)
        form = "managed memory" if type(found.thing).__name__ == "ManagedMemory" else made.form
        self._living.found(
            (SOURCE, place, handle),
            made.kind,
            form,
            SOURCE,
            lambda: _objects(place, handle),
            nbytes=found.nbytes,
            free=lambda: getattr(driver, _FREED_BY[place])(handle),
        )


def _form(made: _Made, args: Sequence[Any]) -> str:
    # The flags come last.
    if made.kind == "pinned" and int(args[-1]) & _DEVICE_MAP:
        return "mapped buffer" if made.handle is None else "registered and mapped memory"
    return made.form


def _current(driver: Any) -> int | None:
    try:
        return number(driver.cuCtxGetDevice())
    except Exception:  # noqa: BLE001 - a sticky error of the device is not about us
        return None


def _late(driver: Any, name: str) -> Callable[..., Any]:
    """Return the entry point bound when it is first called, as numba binds it."""
    bound: list[Callable[..., Any]] = []

    def call(*args: Any) -> Any:
        if not bound:
            ours = vars(driver).get(name)
            bound.append(type(driver).__getattr__(driver, name))  # which puts its own in the place of ours
            if ours is not None:
                vars(driver)[name] = ours
        return bound[0](*args)

    return call
