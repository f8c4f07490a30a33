"""Threads: each remembers where it was started, and is a suspect when it outlives its owner.

``Thread.start`` is wrapped rather than audited: an audit hook cannot be removed again and slows unrelated
calls. A birth record costs about a microsecond beside the hundred of a start, and lives on the thread
itself, so that no registry keeps anything alive.
"""

from __future__ import annotations

import functools
import gc
import itertools
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.closing import advised_methods, closing_method
from pytest_gpuguard.track.holding import holds
from pytest_gpuguard.track.keepers import keeper_of, own, target_name, targets
from pytest_gpuguard.track.leak import trace
from pytest_gpuguard.track.libraries import kept_for_good
from pytest_gpuguard.track.objects import is_a, of_class
from pytest_gpuguard.track.probe import Closer, Suspect
from pytest_gpuguard.track.reap import reap_thread
from pytest_gpuguard.track.scope import BEFORE
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places, RawStack

__all__ = ["KNOWN", "ThreadProbe", "ThreadSuspect"]

#: Threads that a library keeps for good, by what they run. Counted, never hidden.
KNOWN: dict[str, str] = {
    "tqdm._monitor:TMonitor.run": "tqdm keeps one monitor for the whole process",
    "pytest_timeout:timeout_timer": "pytest-timeout's timer",
    "concurrent.futures.thread:_worker@asyncio": "asyncio's default executor",
    # As long as that runs, which is told by itself where nobody looks after it.
    "asyncio.unix_events:ThreadedChildWatcher._do_waitpid": "asyncio waits for a child in a thread",
}

_STOPPED_AT_EXIT = frozenset(
    {
        "concurrent.futures.thread:_worker",
        "concurrent.futures.process:_ExecutorManagerThread.run",
        "loky.process_executor:_ExecutorManagerThread.run",
        "joblib.externals.loky.process_executor:_ExecutorManagerThread.run",
    }
)

#: What they do is not theirs but of whoever has given it to them.
_WORKERS = frozenset({"concurrent.futures.thread:_worker", "multiprocessing.pool:worker"})

_SERIAL = itertools.count()

#: Bound here: a test puts something else in their place, and is to be left alone by us.
_enumerate, _get_ident = threading.enumerate, threading.get_ident


class ThreadSuspect(Suspect):
    """A live thread whose owner has ended."""

    kind = "thread"
    code = "GPG101"

    def __init__(self, thread: threading.Thread, birth: Birth) -> None:
        self.thread, self.birth = thread, birth

    @property
    def what(self) -> str:
        return self.birth.what

    @property
    def title(self) -> str:
        name, keeper = self.what.rpartition(":")[2], self.closer.keeper
        return f"thread {name}" + (f" of {keeper}" if keeper and keeper not in name.split(".") else "")

    @functools.cached_property
    def keeper(self) -> object | None:
        """The object that the thread works for; a thread that has ended no longer tells it."""
        return keeper_of(self.thread)

    @property
    def closer(self) -> Closer:
        keeper = self.keeper
        if keeper is None:
            return Closer()
        return Closer(type(keeper).__name__, next(iter(advised_methods(type(keeper), "thread")), None))

    @property
    def things(self) -> list[object]:
        # One that is ending has forgotten what it ran: what can be reached from it says nothing of others.
        if self.keeper is None and "_target" not in vars(self.thread):
            return []
        return [thing for thing in (self.thread, self.keeper) if thing is not None]

    def cpu_seconds(self) -> float | None:
        return procfs.cpu_seconds(f"self/task/{own(self.thread, 'native_id')}")

    def subject(self, places: Places) -> dict[str, Any]:
        running = sys._current_frames().get(own(self.thread, "ident") or 0)  # noqa: SLF001 - the documented way
        return {
            "name": sound(own(self.thread, "name")),
            "daemon": own(self.thread, "daemon"),
            "target": self.what,
            "now": trace(places.read(capture(running))),
        }

    def reap(self, timeout: float) -> str:
        through = self._closed_through()
        if through is self.keeper and closing_method(type(through)) == "set" and self._is_shared(through):
            return f"left alone: others have its {type(through).__name__} as well"
        return reap_thread(self.thread, through, timeout)

    def _is_shared(self, event: object) -> bool:
        # To set it tells everybody who has it; the thread has it itself, or by what it runs.
        own_parts = (self, vars(self), self.thread, vars(self.thread), *targets(self.thread))
        mine = {id(part) for part in own_parts}
        found = gc.get_referrers(event)
        return any(id(other) not in mine and not is_a(other, types.FrameType) for other in found)

    def _closed_through(self) -> object | None:
        keeper = self.keeper
        if keeper is not None and closing_method(type(keeper)) not in {None, "set"}:
            return keeper
        # As the hint says: by what its fixture gave. Only its class is known, and whom the thread works for.
        fixture = self.birth.fixture or self.birth.owner.fixture
        given = of_class(fixture.made) if fixture is not None and fixture.made is not None else []
        found = [one for one in given if holds(one, self.things) or holds(self.thread, [one])]
        return found[0] if len(found) == 1 else keeper


def _is_simulated(cls: type) -> bool:
    # numba's simulator starts one per simulated thread, and ends them itself.
    return cls.__name__ == "BlockThread" and ".simulator" in cls.__module__


class ThreadProbe:
    """Sees every thread started through :class:`threading.Thread` while it is installed."""

    unable = None
    pulses: tuple[Callable[[], object], ...] = ()
    restless = False

    def __init__(self, scene: Scene, kinds: frozenset[str] = frozenset({"thread"})) -> None:
        # Not asked for, threads are still recorded: what they make inherits from them.
        self.kinds = kinds & {"thread"}
        self._scene = scene
        # Guards can be nested (a suite that runs pytest in its own process): each has its own records.
        self._record = f"_gpuguard_birth_{next(_SERIAL)}"
        self._counter = itertools.count(1)
        self._looked_at = self._started = self._stood = 0
        scene.makers.append(self._birth_of_caller)

    def install(self) -> Callable[[], None]:
        """Wrap ``Thread.start``; return how to undo it."""
        original = threading.Thread.start
        probe = self
        # But for the main thread, and for raw ones that have asked who they are.
        self._stood = sum(type(thread).__name__ != "_DummyThread" for thread in _enumerate()) - 1
        # Known by class once it was seen: there are tens of thousands of these threads.
        simulated: set[type] = set()

        # It takes no more than what it wraps: to hand on what nobody gives costs a microsecond a thread.
        @functools.wraps(original)
        def start(self: threading.Thread) -> None:
            if type(self) not in simulated:
                if _is_simulated(type(self)):
                    simulated.add(type(self))
                else:
                    probe.record(self, sys._getframe(1))  # noqa: SLF001 - the documented cheap way
            original(self)

        threading.Thread.start = start  # type: ignore[method-assign]

        def uninstall() -> None:
            # Somebody may have wrapped ours since: then ours must stay below theirs.
            if threading.Thread.start is start:
                threading.Thread.start = original  # type: ignore[method-assign]

        return uninstall

    def record(self, thread: threading.Thread, frame: FrameType) -> None:
        """Remember where ``thread`` is started; a second start is refused by Python and is no new birth."""
        if self.birth_of(thread) is None:
            vars(thread)[self._record] = self._scene.born(target_name(thread), capture(frame))
            self._started = next(self._counter)

    def birth_of(self, thread: threading.Thread) -> Birth | None:
        """Return the record of ``thread``, or None when it was started before we looked."""
        return vars(thread).get(self._record)

    def _birth_of_caller(self) -> Birth | None:
        # Not by current_thread(): in a raw thread that would add a dummy to the suite's list of threads.
        caller = _get_ident()
        birth = next(
            (self.birth_of(thread) for thread in _enumerate() if own(thread, "ident") == caller),
            None,
        )
        # A pool has what it does from the tests of today: those of when it started have ended.
        if birth is not None and birth.what in _WORKERS and (birth.owner is BEFORE or birth.owner.ended):
            return None
        return birth

    def moved(self) -> bool:
        """Return whether a thread was started since the last look."""
        return self._started != self._looked_at

    def sweep(self) -> None:
        """Do nothing: every thread was seen being started."""

    def looked(self) -> None:
        """Note that the suspects of now have been looked at."""
        self._looked_at = self._started

    def suspects(self) -> list[ThreadSuspect]:
        """Return the live threads whose owner has ended and that were not reported before."""
        if not self.kinds:
            return []
        return [entry for entry in self._living() if entry.birth.owner.ended and not entry.birth.reported]

    def abandoned(self) -> list[ThreadSuspect]:
        """Return the live threads that were reported before: they are still holding what they hold."""
        return [entry for entry in self._living() if entry.birth.reported and self.known(entry) is None]

    def known(self, suspect: Suspect) -> str | None:
        """Return why a library keeps this thread for good, or None when nobody is known to."""
        name = suspect.birth.what
        if name == "concurrent.futures.thread:_worker" and _made_by_asyncio(suspect.birth.stack):
            name += "@asyncio"
        return KNOWN.get(name) or kept_for_good(suspect)

    def seen(self) -> dict[str, int]:
        """Return how many threads were started."""
        return dict.fromkeys(self.kinds, self._started)

    def existed(self) -> dict[str, int]:
        return {}

    def stood(self) -> dict[str, int]:
        return dict.fromkeys(self.kinds, self._stood)

    def waited_for(self) -> list[ThreadSuspect]:
        """Return the threads that the interpreter waits for when it ends.

        It stops those of executors itself, as far as they have nothing to do.
        """
        return [
            entry
            for entry in self._living()
            if not own(entry.thread, "daemon") and entry.what not in _STOPPED_AT_EXIT
        ]

    @property
    def busy(self) -> bool:
        """Whether a thread that was seen being started is alive."""
        return next(self._living(), None) is not None

    watching = ("threading",)

    def _living(self) -> Iterator[ThreadSuspect]:
        for thread in _enumerate():
            birth = self.birth_of(thread)
            if birth is not None and own(thread, "is_alive")():
                yield ThreadSuspect(thread, birth)


def _made_by_asyncio(stack: RawStack) -> bool:
    return any(code.co_qualname == "BaseEventLoop.run_in_executor" for code, _ in stack)
