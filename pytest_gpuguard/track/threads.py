"""Threads: each remembers where it was started, and is a suspect when it outlives its owner.

``Thread.start`` is wrapped rather than audited: an audit hook cannot be removed again and slows unrelated
calls. A birth record costs about a microsecond beside the hundred of a start, and lives on the thread
itself, so that no registry keeps anything alive.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import time
import types
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.stacks import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuguard.track.scope import Birth, Certainty, Scene
    from pytest_gpuguard.track.stacks import RawStack

__all__ = ["KNOWN", "ThreadProbe", "ThreadSuspect", "keeper_of", "known_reason"]

#: Threads that a library keeps for good, by what they run. Counted, never hidden.
KNOWN: dict[str, str] = {
    "tqdm._monitor:TMonitor.run": "tqdm keeps one monitor for the whole process",
    "pytest_timeout:timeout_timer": "pytest-timeout's timer",
    "concurrent.futures.thread:_worker@asyncio": "asyncio's default executor",
}

_SERIAL = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class ThreadSuspect:
    """A live thread whose owner has ended."""

    thread: threading.Thread
    birth: Birth


def _target_of(thread: threading.Thread) -> Callable[..., object]:
    """Return what the thread runs: its target, or the ``run`` of its class."""
    target = thread.function if isinstance(thread, threading.Timer) else getattr(thread, "_target", None)
    return target if callable(target) else type(thread).run


def _target_name(thread: threading.Thread) -> str:
    """Return ``module:qualname`` of what the thread runs; never its name, which often carries a counter."""
    target = _target_of(thread)
    while isinstance(target, functools.partial):
        target = target.func
    return (
        f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__qualname__)}"
    )


def keeper_of(thread: threading.Thread) -> object | None:
    """Return the object that the thread works for, where it can be told, else None.

    That is the object whose method it runs, itself when its class has a ``run`` of its own, or the first
    argument behind a weak reference. :mod:`threading` has no public way to it.
    """
    bound = getattr(_target_of(thread), "__self__", None)
    if bound is not None and not isinstance(bound, types.ModuleType | type):
        return bound  # type: ignore[no-any-return]
    if type(thread).run is not threading.Thread.run:
        return thread
    for argument in getattr(thread, "_args", ()):
        if isinstance(argument, weakref.ref) and (alive := argument()) is not None:
            return alive  # type: ignore[no-any-return]
    return None


def _is_simulated(thread: threading.Thread) -> bool:
    # numba's simulator starts one per simulated thread, tens of thousands a run, and ends them itself.
    cls = type(thread)
    return cls.__name__ == "BlockThread" and ".simulator" in cls.__module__


class ThreadProbe:
    """Sees every thread started through :class:`threading.Thread` while it is installed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        # Guards can be nested (a suite that runs pytest in its own process): each has its own records.
        self._record = f"_gpuguard_birth_{next(_SERIAL)}"
        self._counter = itertools.count(1)
        self._looked_at = 0
        self.started = 0

    def install(self) -> Callable[[], None]:
        """Wrap ``Thread.start``; return how to undo it."""
        original = threading.Thread.start
        probe = self

        @functools.wraps(original)
        def start(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
            if not _is_simulated(self):
                probe.record(self, sys._getframe(1))  # noqa: SLF001 - the documented cheap way
            original(self, *args, **kwargs)

        threading.Thread.start = start  # type: ignore[method-assign]

        def uninstall() -> None:
            # Somebody may have wrapped ours since: then ours must stay below theirs.
            if threading.Thread.start is start:
                threading.Thread.start = original  # type: ignore[method-assign]

        return uninstall

    def record(self, thread: threading.Thread, frame: Any) -> None:
        """Remember where ``thread`` is started; a second start is refused by Python and is no new birth."""
        if self.birth_of(thread) is not None:
            return
        in_main = threading.get_ident() == threading.main_thread().ident
        maker = None if in_main else self.birth_of(threading.current_thread())
        certainty: Certainty = "exact" if in_main else "inferred"
        birth = self._scene.birth(_target_name(thread), maker, certainty, capture(frame), time.monotonic())
        setattr(thread, self._record, birth)
        self.started = next(self._counter)

    def birth_of(self, thread: threading.Thread) -> Birth | None:
        """Return the record of ``thread``, or None when it was started before we looked."""
        return getattr(thread, self._record, None)

    def moved(self) -> bool:
        """Return whether anything can have changed since the last look: the cheap question of every test."""
        return self.started != self._looked_at

    def looked(self) -> None:
        """Note that the suspects of now have been looked at."""
        self._looked_at = self.started

    def suspects(self) -> list[ThreadSuspect]:
        """Return the live threads whose owner has ended and that were not reported before."""
        return [
            ThreadSuspect(thread, birth)
            for thread, birth in self._living()
            if birth.owner.ended and not birth.reported
        ]

    def abandoned(self) -> list[ThreadSuspect]:
        """Return the live threads that were reported before: they are still holding what they hold."""
        return [ThreadSuspect(thread, birth) for thread, birth in self._living() if birth.reported]

    def _living(self) -> Iterator[tuple[threading.Thread, Birth]]:
        for thread in threading.enumerate():
            birth = self.birth_of(thread)
            if birth is not None and thread.is_alive():
                yield thread, birth


def known_reason(suspect: ThreadSuspect) -> str | None:
    """Return why a library keeps this thread for good, or None when nobody is known to."""
    name = suspect.birth.what
    if name == "concurrent.futures.thread:_worker" and _made_by_asyncio(suspect.birth.stack):
        name += "@asyncio"
    return KNOWN.get(name)


def _made_by_asyncio(stack: RawStack) -> bool:
    return any(code.co_qualname == "BaseEventLoop.run_in_executor" for code, _ in stack)
