"""Threads that :mod:`threading` does not know: those of ``_thread``, and native ones of libraries.

The system lists every thread of the process. Those of ``_thread`` are seen being started; what is left is
native, and told apart by its name and the library that it works for.
"""

from __future__ import annotations

import _thread
import faulthandler
import functools
import inspect
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard import clock
from pytest_gpuguard.track import natives, procfs
from pytest_gpuguard.track.keepers import own
from pytest_gpuguard.track.leak import trace
from pytest_gpuguard.track.looking import LookingProbe
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.track.scope import Birth, Owner, Scene
    from pytest_gpuguard.track.stacks import Places

#: For so many questions after a change all threads are listed, where the system tells no more than a count.
_LISTED_FOR = 5
#: Seconds in which a raw thread that was started says which of the system's threads it is.
_COMES_WITHIN = 1.0
#: Seconds of CPU after which a native thread is at work rather than about to begin.
_RUNS = 0.005

__all__ = ["RawThread", "TaskProbe", "TaskSuspect"]


class _Task(NamedTuple):
    """A thread as the system has it: its name, and the library that it works for."""

    name: str
    library: str | None


class RawThread:
    """What a thread of ``_thread`` runs, and where it was started; it writes itself down while it runs."""

    def __init__(
        self,
        function: Callable[..., object],
        birth: Birth | None,
        running: dict[int, RawThread],
        coming: set[object],
    ) -> None:
        self.function, self.birth, self._running, self._coming = function, birth, running, coming
        self.ident = 0

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        tid = threading.get_native_id()
        self.ident = threading.get_ident()
        self._running[tid] = self
        self._coming.discard(self)
        try:
            return self.function(*args, **kwargs)
        finally:
            self._running.pop(tid, None)

    def __repr__(self) -> str:
        # As Python shows it when the thread dies.
        return repr(self.function)


class TaskSuspect(Suspect):
    """A raw or native thread whose owner has ended."""

    kind = "thread"

    def __init__(self, tid: int, task: _Task, raw: RawThread | None, birth: Birth) -> None:
        self.tid, self.task, self.raw, self.birth = tid, task, raw, birth

    @property
    def code(self) -> str:  # type: ignore[override]
        return "GPG101" if self.raw else "GPG102"

    @property
    def what(self) -> str:
        return self.birth.what

    @property
    def title(self) -> str:
        if self.raw:
            return f"raw thread {self.what.rpartition(':')[2]}"
        of = (self.task.library or "").rpartition("/")[2]
        return f"native thread {_steady(self.task.name)!r}" + (f" of {of}" if of else "")

    def cpu_seconds(self) -> float | None:
        return procfs.cpu_seconds(f"self/task/{self.tid}")

    def subject(self, places: Places) -> dict[str, Any]:
        running = sys._current_frames().get(self.raw.ident) if self.raw else None  # noqa: SLF001 - the documented way
        return {
            "name": sound(self.task.name),
            "daemon": True,
            "target": self.what,
            "now": trace(places.read(capture(running))),
            "flavour": "raw" if self.raw else "native",
            "native_id": self.tid,
        }


def _timer_among(new: set[int]) -> set[int]:
    """Return which of the threads that are new is faulthandler's: another may have been started beside it.

    It blocks all signals, once it has come to that; those that begin block even more, for a moment.
    """
    end = clock.monotonic() + _COMES_WITHIN
    while len(new) > 1 and clock.monotonic() < end:
        found = {tid for tid in new if procfs.blocks_signals(tid)}
        if found:
            return found
        clock.sleep(0.0005)
    return new


def _steady(name: str) -> str:
    """Return a thread's name without the numbers that many carry."""
    return re.sub(r"\d+", "N", name)


def _named(function: Any) -> str:
    named = function if inspect.isroutine(function) else type(function)
    return f"{getattr(named, '__module__', None) or '_thread'}:{named.__qualname__}"


class TaskProbe(LookingProbe[_Task]):
    """Sees the threads of the process that are none of :mod:`threading`."""

    kind = "thread"
    watching = ("_thread", "the system's list of threads")

    def __init__(self, scene: Scene, newest: procfs.Newest | None = None) -> None:
        super().__init__(scene)
        self._newest = newest or procfs.Newest()
        self.unable = None if procfs.exists() else "this system does not list the threads of a process"
        self._running: dict[int, RawThread] = {}
        #: What is being started, and cannot be told yet from what somebody else has started.
        self._coming: set[object] = set()
        self._raws = 0
        self._listed: set[int] = set()
        self._listed_for = 0
        # The newest of all, as of that list.
        self._number: object = None
        self._before: frozenset[str] = frozenset()
        self._loaded: dict[str, Owner] = {}
        self._timer: set[int] = set()
        scene.makers.append(self._birth_of_caller)

    def begin(self) -> Callable[[], None]:
        self._folder = procfs.Opened("/proc/self/task", folder=True)
        fd = self._folder.fd
        self.count = lambda: os.fstat(fd).st_nlink
        close = self._newest.open()
        original = _thread.start_new_thread
        self._before = natives.loaded()

        def start_new_thread(function: Callable[..., object], args: Any, *kwargs: Any) -> int:
            raw = self._starting(function, sys._getframe(1))  # noqa: SLF001 - the documented cheap way
            self._coming.add(raw)
            try:
                return original(raw, args, *kwargs)
            except BaseException:
                self._coming.discard(raw)
                raise

        _thread.start_new_thread = start_new_thread

        restore = self._watch_timer()

        def undo() -> None:
            restore()
            if _thread.start_new_thread is start_new_thread:
                _thread.start_new_thread = original
            self._folder.close()
            close()

        return undo

    def _watch_timer(self) -> Callable[[], None]:
        """Know which thread faulthandler's timer is: the one native thread of the interpreter itself.

        It is nobody's leak, and a new one each time that it is armed.
        """
        start, stop = faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later

        @functools.wraps(start)
        def starting(*args: Any, **kwargs: Any) -> None:
            before, arming = set(procfs.tasks()), object()
            # Whoever looks meanwhile, in another thread, cannot know it.
            self._coming.add(arming)
            try:
                start(*args, **kwargs)
                self._timer = _timer_among(set(procfs.tasks()) - before)
            finally:
                self._coming.discard(arming)

        @functools.wraps(stop)
        def stopping() -> None:
            stop()
            self._timer = set()

        faulthandler.dump_traceback_later = starting
        faulthandler.cancel_dump_traceback_later = stopping

        def restore() -> None:
            if faulthandler.dump_traceback_later is starting:
                faulthandler.dump_traceback_later = start
            if faulthandler.cancel_dump_traceback_later is stopping:
                faulthandler.cancel_dump_traceback_later = stop

        return restore

    def _starting(self, function: Callable[..., object], frame: Any) -> RawThread:
        self._news = True
        # Our own are written down as well, or they would be taken for native ones.
        ours = str(getattr(function, "__module__", "")).startswith("pytest_gpuguard.")
        self._raws += not ours
        birth = None if ours else self._scene.born(_named(function), capture(frame))
        return RawThread(function, birth, self._running, self._coming)

    def _birth_of_caller(self) -> Birth | None:
        raw = self._running.get(threading.get_native_id())
        return raw.birth if raw else None

    @property
    def pulses(self) -> tuple[Callable[[], object], ...]:
        return self._newest.pulses or super().pulses

    @property
    def restless(self) -> bool:
        return self._news or (self._listed_for > 0 and not self._newest.pulses)

    def moved(self) -> bool:
        if self.unable is not None:
            return False
        if self._news or self.count() != self._counted:
            self._listed_for = _LISTED_FOR
            return True
        # The count hides one that has come where another has ended.
        number = self._newest.ask()
        if number == self._number and not self._soon_after():
            return False
        if set(procfs.tasks()) != self._listed:
            return True
        self._number = number
        return False

    def _soon_after(self) -> bool:
        """Return whether a change is not long ago, where nobody tells of what comes: then it is likely."""
        if self._newest.pulses or not self._listed_for:
            return False
        self._listed_for -= 1
        return True

    def seen(self) -> dict[str, int]:
        # Native ones are often glimpsed and gone: only those that stayed are counted.
        return {self.kind: self._raws + sum(birth.reported for birth in self._births.values())}

    def look(self) -> Mapping[int, _Task]:
        # Raw and native threads that ask who they are get a dummy there.
        python = {
            own(thread, "native_id")
            for thread in threading.enumerate()
            if type(thread).__name__ != "_DummyThread"
        }
        found = {}
        end = clock.monotonic() + _COMES_WITHIN
        while self._coming and clock.monotonic() < end:
            clock.sleep(0.0005)
        self._number = self._newest.ask()
        self._listed = set(procfs.tasks())
        for tid in self._listed:
            raw = self._running.get(tid)
            if tid in python or (raw.birth is None if raw is not None else tid in self._timer):
                continue
            known = self._details.get(tid)
            if known is None and raw is None and self._coming:
                # Perhaps the timer, or one that was started and has still not come to its first line: the
                # next look tells.
                self._news = True
                continue
            if known is None:
                name = procfs.slurp(f"/proc/self/task/{tid}/comm").strip()
                known = _Task(name, "")
            found[tid] = known
        return found

    def what(self, detail: _Task) -> str:
        return f"native:{_steady(detail.name)}"

    def born(self, key: int, detail: _Task) -> Birth:
        raw = self._running.get(key)
        return raw.birth if raw and raw.birth else super().born(key, detail)

    def suspect(self, key: int, detail: _Task, birth: Birth) -> TaskSuspect:
        raw = self._running.get(key)
        if raw is None:
            detail = _Task(detail.name, natives.library_of(key))
        return TaskSuspect(key, detail, raw, birth)

    def known(self, suspect: Suspect) -> str | None:
        assert isinstance(suspect, TaskSuspect)
        library = suspect.task.library
        if suspect.raw:
            return None
        if library is None:
            # It runs right now. If it has hardly begun, the next look tells; else what was loaded since we
            # began to watch has to do.
            if (suspect.cpu_seconds() or 0.0) < _RUNS:
                return None
            fresh = natives.loaded() - self._before
            return next(filter(None, map(natives.pool, sorted(fresh))), None)
        if not library:
            return None
        # What the first import of a library starts is there for good; what it starts later may not be.
        if (
            library not in self._before
            and self._loaded.setdefault(library, suspect.birth.owner) is suspect.birth.owner
        ):
            return f"{library.rpartition('/')[2]} started it when it was loaded"
        return natives.pool(library)
