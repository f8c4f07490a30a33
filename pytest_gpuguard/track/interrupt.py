"""Breaking a wait of the main thread: only inside the right test, only in a phase that pytest catches.

Of the ways to raise an exception in another thread only a real signal reaches one that is blocked in a
lock, a sleep or a select. A real-time signal is used: SIGALRM belongs to pytest-timeout, and suites use
SIGUSR1 and SIGUSR2 themselves.

The handler runs in the main thread, between two bytecodes of it. So whatever it checks cannot change under
it, and the monitor's own checks, made in another thread, are only hints.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType, FrameType

    from pytest_gpuguard.track.scope import Owner, Scene

__all__ = ["Interrupter"]


class _Request(NamedTuple):
    owner: Owner
    still: Callable[[FrameType | None], bool]
    error: Callable[[], BaseException]
    cause: BaseException | None
    until: float


class Interrupter:
    """Raises an error in the main thread on request.

    Parameters
    ----------
    scene
        Says which test is running.
    entries
        Returns the code of the functions of that test, as far as an exception in them, or in what they call,
        becomes a failure of the test and nothing worse.
    """

    def __init__(self, scene: Scene, entries: Callable[[], Collection[CodeType | None]]) -> None:
        self._scene, self._entries = scene, entries
        self._request: _Request | None = None
        self._signal: int | None = None
        self.main = threading.main_thread().ident or 0
        #: Why no wait can be broken, or None.
        self.unable: str | None = None

    def install(self) -> Callable[[], None]:
        """Take a signal that nobody holds; return how to give it back."""
        self.unable = self._find_signal()
        if self._signal is None:
            return lambda: None
        number, previous = self._signal, signal.signal(self._signal, self._handle)

        def uninstall() -> None:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)

        return uninstall

    def _find_signal(self) -> str | None:
        if threading.current_thread() is not threading.main_thread():
            return "tests do not run in the main thread"
        if not hasattr(signal, "SIGRTMIN") or not hasattr(signal, "pthread_kill"):
            return "this platform has no real-time signals"
        for number in range(signal.SIGRTMIN + 7, signal.SIGRTMAX):
            if signal.getsignal(number) in {signal.SIG_DFL, None}:
                self._signal = number
                return None
        return "every real-time signal is taken"

    def armed_for(self, owner: Owner) -> bool:
        """Return whether an interrupt would now become a failure of ``owner``; a hint, see the handler."""
        return self._armed_for(owner, sys._current_frames().get(self.main))  # noqa: SLF001 - the documented way

    def _armed_for(self, owner: Owner, frame: FrameType | None) -> bool:
        scene = self._scene
        timed = scene.owner is owner and scene.progress is not None
        return timed and scene.phase != "teardown" and self._in_force() and self._is_inside(frame)

    def _is_inside(self, frame: FrameType | None) -> bool:
        entries = self._entries()
        while frame is not None and frame.f_code not in entries:
            frame = frame.f_back
        return frame is not None

    def _in_force(self) -> bool:
        return self._signal is not None and signal.getsignal(self._signal) == self._handle

    def interrupt(
        self,
        owner: Owner,
        error: Callable[[], BaseException],
        *,
        cause: BaseException | None = None,
        still: Callable[[FrameType | None], bool] = lambda _: True,
        within: float = math.inf,
    ) -> bool:
        """Ask for ``error`` to be raised in the main thread; return whether the signal could be sent.

        Parameters
        ----------
        owner
            The test that must still be running.
        error
            Makes the exception, in the main thread.
        cause
            Becomes its ``__cause__``.
        still
            Asked in the main thread with the interrupted frame: is the reason still there?
        within
            Seconds from the first of several requests: when the handler runs later than that, the main thread
            was in a call in C that ignores signals, and that has ended by itself. Then nothing is raised.
        """
        if self._signal is None or not self._in_force():
            return False
        # What was sent before and has not arrived counts from then.
        pending = self._request
        until = pending.until if pending and pending.owner is owner else clock.monotonic() + within
        self._request = _Request(owner, still, error, cause, until)
        signal.pthread_kill(self.main, self._signal)
        return True

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        request, self._request = self._request, None
        if request is None or not self._armed_for(request.owner, frame) or not request.still(frame):
            return
        if clock.monotonic() > request.until:
            return
        raise request.error() from request.cause
