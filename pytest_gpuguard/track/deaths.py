"""Threads that end with an exception while a test goes on, and tests that wait for them for ever.

A daemon thread that dies says so once, on stderr, which pytest captures and xdist drops; whoever waits for
its work then waits without end. So the exception is kept until the test is over, and when the main thread
has stayed in one wait or one poll loop since, the wait is broken with the exception as its cause.

A sampler cannot tell a poll loop from a loop that makes progress with pauses: both show the same frames.
It therefore asks for the same place *and* for no line, at any depth, that it had not seen there before: a
poll loop has shown all of its few lines soon.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pytest_gpuguard.track.keepers import own
from pytest_gpuguard.track.scope import Birth, Owner
from pytest_gpuguard.track.tasks import RawThread

if TYPE_CHECKING:
    from types import FrameType

    from pytest_gpuguard.track.interrupt import Interrupter
    from pytest_gpuguard.track.scope import Scene
    from pytest_gpuguard.track.threads import ThreadProbe

__all__ = ["Death", "DeathWatch", "Expected", "Place"]

Sample = list[tuple[int, int, int]]

#: How CPython begins its word on the exception of a raw thread.
_RAW_THREAD = "Exception ignored in thread started by"
_LEAVES = 3
_TRIES = 5
#: Seconds in which a wait is broken that a signal can break: in C some only end by themselves.
_WITHIN = 0.2


class Expected(Protocol):
    """Asked with the beginning of the warning that pytest makes of an exception in a thread."""

    def __call__(self, text: str, *, raw: bool) -> bool:
        """Return whether the suite ignores that warning; ``raw`` for threads outside :mod:`threading`."""


class Death(msgspec.Struct, eq=False):
    """A thread's end by an exception, while ``owner`` was the running test.

    It has ``ended`` once those have heard of it who hear of its exception, in the thread itself.
    """

    thread: str
    target: str
    error: BaseException | None
    birth: Birth | None
    owner: Owner
    waited_for: bool
    at: float
    ended: Callable[[], bool] = lambda: True
    interrupted: bool = False


class Place:
    """Where the main thread stays: the frames common to all samples, the lines seen at each depth.

    A sample is ``(id of frame, id of code, line)`` for each frame, outermost first.
    """

    def __init__(self, sample: Sample, since: float) -> None:
        self._begin(sample, since)

    def _begin(self, sample: Sample, since: float) -> None:
        self.since = since
        self.frames = [entry[:2] for entry in sample]
        self.seen = self._lines(sample)

    @staticmethod
    def _lines(sample: Sample) -> set[tuple[int, int, int]]:
        # By depth and code, not by frame: the frame of the next call is often at the address of the last.
        return {(depth, code, line) for depth, (_, code, line) in enumerate(sample)}

    def holds(self, sample: Sample, now: float) -> None:
        """Compare with a sample; start anew on a move.

        The innermost few frames may come and go: they are the sleep, the poll, the wait of the loop.
        """
        same = 0
        for mine, (frame, code, _) in zip(self.frames, sample, strict=False):
            if mine != (frame, code):
                break
            same += 1
        if same < len(self.frames) - _LEAVES or not same:
            self._begin(sample, now)
            return
        del self.frames[same:]
        lines = self._lines(sample)
        if not lines <= self.seen:
            self.seen |= lines
            self.since = now

    def on(self, frame: FrameType | None) -> bool:
        """Return whether the main thread, interrupted in ``frame``, is still in this place."""
        return [entry[:2] for entry in _sample(frame)][: len(self.frames)] == self.frames


def _sample(frame: FrameType | None) -> Sample:
    found: Sample = []
    while frame is not None:
        found.append((id(frame), id(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    found.reverse()
    return found


def _ended(thread: threading.Thread) -> Callable[[], bool]:
    """Return what tells whether a thread has ended, and does not keep it alive."""
    reference = weakref.ref(thread)

    def ended() -> bool:
        dying = reference()
        return dying is None or not own(dying, "is_alive")()

    return ended


class DeathWatch:
    """Keeps what threads died of, and breaks the wait for one that will not come back.

    Parameters
    ----------
    scene, probe, interrupter
        What is running, who started the thread, how to break the wait.
    patience
        Seconds that the main thread must have stayed in one place.
    breaks
        Whether waits are broken at all, or deaths only reported.
    expected
        Tells whether the suite has said that it expects such an end of a thread.
    error
        Makes the exception to raise from a death.
    """

    def __init__(
        self,
        scene: Scene,
        probe: ThreadProbe,
        interrupter: Interrupter,
        *,
        patience: float,
        breaks: bool,
        expected: Expected,
        error: Callable[[Death], BaseException],
        clock: Callable[[], float],
    ) -> None:
        self._scene, self._probe, self._interrupter = scene, probe, interrupter
        self._patience, self._breaks, self._expected, self._error, self._clock = (
            patience,
            breaks,
            expected,
            error,
            clock,
        )
        self._place: Place | None = None
        self._tries = 0
        #: Deaths of the running test, oldest first.
        self.deaths: deque[Death] = deque()
        #: Called at each death: the monitor must look more often from now on.
        self.alarm: Callable[[], None] = lambda: None

    def install(self) -> Callable[[], None]:
        """Put our hooks before those in force; return how to undo it."""
        steps = self._install_for_threads(), self._install_for_raw_threads()

        def uninstall() -> None:
            for step in steps:
                step()

        return uninstall

    def _install_for_threads(self) -> Callable[[], None]:
        previous = threading.excepthook

        def hook(args: threading.ExceptHookArgs, /) -> None:
            self._died(args)
            previous(args)

        threading.excepthook = hook

        def uninstall() -> None:
            if threading.excepthook is hook:
                threading.excepthook = previous

        return uninstall

    def _install_for_raw_threads(self) -> Callable[[], None]:
        # Threads of _thread.start_new_thread have no other way to say what they died of.
        previous = sys.unraisablehook

        def hook(args: sys.UnraisableHookArgs, /) -> None:
            if (args.err_msg or "").startswith(_RAW_THREAD):
                self._raw_died(args)
            previous(args)

        sys.unraisablehook = hook

        def uninstall() -> None:
            if sys.unraisablehook is hook:
                sys.unraisablehook = previous

        return uninstall

    def _died(self, args: threading.ExceptHookArgs) -> None:
        thread = args.thread
        if thread is None or args.exc_type is SystemExit:
            return
        name = own(thread, "name")
        if not self._expected(f"Exception in thread {name}", raw=False):
            birth = self._probe.birth_of(thread)
            self._note(name, birth.what if birth else name, args.exc_value, birth, _ended(thread))

    def _raw_died(self, args: sys.UnraisableHookArgs) -> None:
        if self._expected(f"{args.err_msg}: ", raw=True):
            return
        # Not by the makers: the thread has left its function, and is no longer written down as running. Nor
        # by the object: since 3.13 there is none, only its name in the message.
        frame = args.exc_traceback.tb_frame if args.exc_traceback is not None else None
        raw = frame.f_locals["self"] if frame and frame.f_code is RawThread.__call__.__code__ else None
        if frame is not None and raw is None:
            name, where = frame.f_code.co_qualname, frame.f_globals.get("__name__", "?")
        else:
            function: Any = args.object if raw is None else raw.function
            name = getattr(function, "__qualname__", type(function).__qualname__)
            where = getattr(function, "__module__", "?")
        birth = None if raw is None else raw.birth
        self._note(name, birth.what if birth else f"{where}:{name}", args.exc_value, birth)

    def _note(
        self,
        name: str,
        what: str,
        error: BaseException | None,
        birth: Birth | None,
        ended: Callable[[], bool] = lambda: True,
    ) -> None:
        owner = self._scene.owner
        if owner is not None:
            concerned = birth is not None and self._scene.concerns(birth)
            self.deaths.append(Death(name, what, error, birth, owner, concerned, self._clock(), ended))
            self._scene.stir()
            self.alarm()

    @property
    def pending(self) -> bool:
        """Whether a wait may have to be broken: the monitor then looks often."""
        return self._breaks and self._waited_for() is not None

    def _waited_for(self) -> Death | None:
        # A death can be noted after its test is over: it must not hide one of the running test.
        mine = (
            death for death in tuple(self.deaths) if death.waited_for and death.owner is self._scene.owner
        )
        return next(mine, None) if self._tries < _TRIES else None

    def take(self) -> list[Death]:
        """Return the deaths of the test that ends now, and forget them."""
        taken = list(self.deaths)
        self.deaths.clear()
        self._place, self._tries = None, 0
        return taken

    def look(self, now: float) -> None:
        """Sample the main thread, and break its wait when it has stayed in one place for long enough."""
        death = self._waited_for()
        if (
            death is None
            # Until then, whoever joins it waits for those that tell of its exception.
            or not death.ended()
            or not self._breaks
            or not self._interrupter.armed_for(death.owner)
        ):
            self._place = None
            return
        sample = _sample(sys._current_frames().get(self._interrupter.main))  # noqa: SLF001 - the documented way
        if self._place is None:
            self._place = Place(sample, now)
            return
        self._place.holds(sample, now)
        if now - self._place.since >= self._patience:
            self._break(death, self._place)

    def _break(self, death: Death, place: Place) -> None:
        # Whoever swallows it gets it again, a patience later.
        self._place = None

        def error() -> BaseException:
            # In the main thread: a signal that was only sent has broken nothing.
            self._tries += 1
            death.interrupted = True
            return self._error(death)

        self._interrupter.interrupt(death.owner, error, cause=death.error, still=place.on, within=_WITHIN)
