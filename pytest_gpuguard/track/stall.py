"""Tests that make no progress: first a dossier, then an end.

Progress is the start or end of a phase or of a fixture. What a stalled test waits for is often held by
another worker, so each stalled process asks all others of the run for their state, through files in one
folder: it needs neither the controller nor the other's main thread.
"""

from __future__ import annotations

import math
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.track.interrupt import Interrupter
    from pytest_gpuguard.track.scope import Owner, Scene

__all__ = ["Stall", "StallWatch", "all_stacks"]

_AGAIN_AFTER = 1.0


class Stall(NamedTuple):
    """A test without progress: node, phase, seconds without progress, and whether it is to be ended."""

    test: str
    phase: str
    idle: float
    ended: bool


def all_stacks() -> str:
    """Return the Python stacks of all threads of this process as text."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to other threads' stacks
        parts.append(f"thread {names.get(ident, '(started outside threading)')}, {ident}\n")
        parts.extend(traceback.format_stack(frame))
        parts.append("\n")
    return "".join(parts)


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
    ) -> None:
        self._scene, self._interrupter = scene, interrupter
        self._end_after, self._dossier, self._error = end_after, dossier, error
        self._first = min((limit for limit in (after, end_after) if limit), default=math.inf)
        self._seen: float | None = None
        self._ending: tuple[float, str] | None = None
        self._ended_at = 0.0
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
        if self._end_after and idle >= self._end_after and self._interrupter.armed_for(owner):
            self._end(owner, progress, Stall(owner.node, self._scene.phase, idle, ended=True), now)
        elif idle >= self._first and self._seen != progress:
            self._seen = progress
            self._report(Stall(owner.node, self._scene.phase, idle, ended=False))

    def _end(self, owner: Owner, progress: float, stall: Stall, now: float) -> None:
        # Whoever swallows the interrupt gets it again, but not before it can have had an effect; it is one
        # stall all the same, however long a wait in C keeps the interrupt from arriving.
        if now - self._ended_at < _AGAIN_AFTER:
            return
        if self._ending is None or self._ending[0] != progress:
            self._seen = progress
            self._ending = progress, self._report(stall)
        text = self._ending[1]
        self._ended_at = now
        self._interrupter.interrupt(
            owner, lambda: self._error(text), still=lambda _: self._scene.progress == progress
        )

    def _report(self, stall: Stall) -> str:
        self.stalls.append(stall)
        return self._dossier(stall)
