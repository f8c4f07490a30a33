"""Tests that make no progress: first a dossier, then an end of the wait, at last of the process.

Progress is the start or end of a phase or of a fixture. What a stalled test waits for is often held by
another worker, so each stalled process asks all others of the run for their state, through files in one
folder: it needs neither the controller nor the other's main thread.
"""

from __future__ import annotations

import math
import re
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.track.keepers import own

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.track.interrupt import Interrupter
    from pytest_gpuguard.track.scope import Owner, Scene

__all__ = ["Stall", "StallWatch", "all_stacks"]

_PYTEST = re.compile(r'File "[^"]*[/\\](_pytest|pluggy)[/\\]')
_AGAIN_AFTER = 1.0
# Counted, not timed: a machine that lets the monitor run seldom lets the test run seldom too.
_ATTEMPTS = 6


class Stall(NamedTuple):
    """A test without progress: node, phase, seconds without progress, whether it is to be ended, and how."""

    test: str
    phase: str
    idle: float
    ended: bool
    how: str = ""


def all_stacks(*, main: bool = True) -> str:
    """Return the Python stacks of all threads of this process, but for the calling one, as text.

    Parameters
    ----------
    main
        With the main thread's.
    """
    names = {own(thread, "ident"): own(thread, "name") for thread in threading.enumerate()}
    parts = []
    left_out = {threading.get_ident(), *(() if main else (threading.main_thread().ident,))}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to other threads' stacks
        if ident in left_out:
            continue
        parts.append(f"thread {names.get(ident, '(started outside threading)')}, {ident}\n")
        parts.extend(_from_the_suite_on(traceback.format_stack(frame)))
        parts.append("\n")
    return "".join(parts)


def _from_the_suite_on(stack: list[str]) -> list[str]:
    """Return a stack without the dozens of calls by which pytest came to the test or fixture."""
    of_pytest = [number for number, line in enumerate(stack) if _PYTEST.search(line)]
    first = of_pytest[-1] + 1 if of_pytest else 0
    return [f"  ({first} frames of pytest)\n", *stack[first:]] if 0 < first < len(stack) else stack


class StallWatch:
    """Watches the time since the last progress of the running test.

    Parameters
    ----------
    scene, interrupter
        What is running, and how to break its wait.
    after
        Seconds without progress until the dossier is written; 0 means not before the end.
    end_after
        Seconds without progress until the test is ended; 0 means never.
    dossier
        Writes the dossier of a stall and returns its text.
    error
        Makes the exception to raise from the dossier's text.
    kill
        Ends the process, given the stall and its dossier, when the wait cannot be broken: in teardown, or in
        C that ignores signals. It does not return.
    """

    def __init__(
        self,
        scene: Scene,
        interrupter: Interrupter,
        *,
        after: float,
        end_after: float,
        dossier: Callable[[Stall], str],
        error: Callable[[str], BaseException],
        kill: Callable[[Stall, str], None],
    ) -> None:
        self._scene, self._interrupter = scene, interrupter
        self._end_after, self._dossier, self._error = end_after, dossier, error
        self._first = min((limit for limit in (after, end_after) if limit), default=math.inf)
        self._seen: float | None = None
        self._ending: tuple[float, str] | None = None
        self._kill = kill
        self._trying, self._attempts, self._tried_at = -math.inf, 0, -math.inf
        #: Stalls of the running test, oldest first.
        self.stalls: list[Stall] = []

    @property
    def pace(self) -> float:
        """Seconds between two looks that are short enough for the limits in force."""
        return min(max(self._first / 10, 0.02), 1.0)

    def take(self) -> list[Stall]:
        """Return the stalls of the test that ends now, and forget them."""
        taken, self.stalls = self.stalls, []
        return taken

    def look(self, now: float) -> None:
        """Compare the last progress with the limits."""
        owner, progress = self._scene.owner, self._scene.progress
        if owner is None or progress is None:
            return
        idle = now - progress
        if self._end_after and idle >= self._end_after:
            # Whoever swallows an interrupt gets it again, but not before it can have had an effect.
            if now - self._tried_at >= _AGAIN_AFTER:
                self._tried_at = now
                self._end(owner, progress, idle)
        elif idle >= self._first:
            self._tell(progress, Stall(owner.node, self._scene.phase, idle, ended=False))

    def _tell(self, progress: float, stall: Stall) -> None:
        if self._seen != progress:
            self._seen = progress
            self._report(stall)

    def _end(self, owner: Owner, progress: float, idle: float) -> None:
        if self._trying != progress:
            self._trying, self._attempts = progress, 0
        self._attempts += 1
        stall = Stall(owner.node, self._scene.phase, idle, ended=True, how="its wait was interrupted")
        if self._attempts > _ATTEMPTS:
            stall = stall._replace(how="its process was ended, since the wait could not be interrupted")
            self.stalls = [earlier for earlier in self.stalls if not earlier.ended]
            self._kill(stall, self._report(stall))
        elif self._interrupter.armed_for(owner):
            self._interrupt(owner, progress, stall)
        else:
            self._tell(progress, stall._replace(ended=False, how=""))

    def _interrupt(self, owner: Owner, progress: float, stall: Stall) -> None:
        # One stall, however long a wait in C keeps the interrupt from arriving.
        if self._ending is None or self._ending[0] != progress:
            self._seen = progress
            self._ending = progress, self._report(stall)
        text = self._ending[1]
        self._interrupter.interrupt(
            owner, lambda: self._error(text), still=lambda _: self._scene.progress == progress
        )

    def _report(self, stall: Stall) -> str:
        self.stalls.append(stall)
        self._scene.stir()
        return self._dossier(stall)
