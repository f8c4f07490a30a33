"""How a thing wants to be closed: the methods that its class offers for it."""

from __future__ import annotations

import inspect
import threading
import types

__all__ = ["advised_methods", "closing_method", "closing_methods", "is_loop"]

_NAMES = ("close", "shutdown", "stop", "terminate", "disconnect", "cancel")
#: What people may be told to call, and nobody calls for them: of some classes it takes from others what they
#: still use.
_ADVISED = ("quit", "halt", "dispose", "destroy", "cleanup", "teardown", "release", "free", "kill")
#: What takes a shared memory segment away, and not merely one's own view of it.
_UNLINKS = ("unlink", "destroy")
#: What takes two calls, by ``module:name`` of the class: who is told to end has to be waited for, and a
#: server has a socket as well. A process that runs refuses to be closed.
_STEPS = {
    "subprocess:Popen": ("terminate", "wait"),
    "multiprocessing.process:BaseProcess": ("terminate", "join"),
    "multiprocessing.pool:Pool": ("terminate", "join"),
    "socketserver:BaseServer": ("shutdown", "server_close"),
}
_Event = threading.Event  # bound here: a suite may put something else in its place
_LOOP = "asyncio.events:AbstractEventLoop"
#: Threads of these wait for a child, and closing does not end them.
_WATCHERS = frozenset(
    f"asyncio.unix_events:{name}" for name in ("ThreadedChildWatcher", "_ThreadedChildWatcher")
)
_LATER = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def is_loop(cls: type) -> bool:
    """Return whether ``cls`` is an event loop of asyncio: while it runs it refuses to be closed."""
    return _LOOP in map(_path, cls.__mro__)


def _is_enough(found: object, given: int) -> bool:
    """Return whether to call it with ``given`` arguments, its own object among them, does what it is for."""
    if isinstance(found, classmethod):
        found = found.__func__
    elif isinstance(found, staticmethod):
        found, given = found.__func__, given - 1
    if not isinstance(found, types.FunctionType):
        return callable(found)
    code = found.__code__
    wanted = code.co_argcount - len(found.__defaults__ or ())
    named = code.co_kwonlyargcount - len(found.__kwdefaults__ or {})
    return wanted <= given and not named and not code.co_flags & _LATER


def _offered(bases: tuple[type, ...], names: tuple[str, ...]) -> str | None:
    for name in names:
        found = next((base.__dict__[name] for base in bases if name in base.__dict__), None)
        if _is_enough(found, 4 if name == "__exit__" else 1):
            return name
    return None


def closing_methods(cls: type, kind: str = "") -> tuple[str, ...]:
    """Return the names of what ``cls`` offers to end what it stands for, in the order of their calls.

    A bare context manager gives ``"__exit__"``, an event ``"set"``; what wants arguments, or to be awaited,
    is left out. Looked up in the dictionaries of the class and its bases: no property of the suite runs.

    Parameters
    ----------
    cls
        The class of an object.
    kind
        What is to be ended, as in the switch ``leak-kinds``, where that makes a difference.
    """
    bases = cls.__mro__
    if kind == "thread" and (is_loop(cls) or not _WATCHERS.isdisjoint(map(_path, bases))):
        return ()
    for number, base in enumerate(bases):
        if (steps := _STEPS.get(_path(base))) is not None:
            # What a subclass has made for it goes first.
            own = _offered(bases[:number], _NAMES)
            # A server that never served never says that it has shut down.
            return (own,) if own else steps[1:] if kind == "fd" and steps[0] == "shutdown" else steps
    found = _offered(bases, (*_NAMES, "__exit__"))
    # Who waits for nothing but an event ends when that comes.
    return (found,) if found else ("set",) if issubclass(cls, _Event) else ()


def closing_method(cls: type, kind: str = "") -> str | None:
    """Return the first of the :func:`closing_methods`, or None."""
    return next(iter(closing_methods(cls, kind)), None)


def advised_methods(cls: type, kind: str = "") -> tuple[str, ...]:
    """Return what people may be told to call: of more names than :func:`closing_methods`, if it knows none.

    Of what has a shared memory segment that is what unlinks it, where there is such a method.
    """
    found = closing_methods(cls, kind)
    if kind == "shm" and (unlinks := _offered(cls.__mro__, _UNLINKS)):
        # To unlink is no more than that; to destroy is all.
        return (*found, unlinks) if unlinks == "unlink" else (unlinks,)
    more = None if found else _offered(cls.__mro__, _ADVISED)
    return (more,) if more else found
