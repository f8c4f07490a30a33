"""What is known when a test makes no progress: where it waits, what is still held, what the others do."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.leak import created, origin
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.stall import Stall, all_stacks
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.track.scope import Scene
    from pytest_gpuguard.track.stacks import Frame, Places
    from pytest_gpuguard.track.tracker import Tracker

__all__ = ["Dossier"]

_OTHERS_ANSWER_WITHIN = 1.5
_MOST_SHOWN = 4


class Dossier:
    """Writes this process's state and reads those of the run's other processes.

    Parameters
    ----------
    folder
        The run's folder; without it there is no file and no word of the others.
    worker, scene, tracker, places
        Who we are, what is running, what is left, how files are shown.
    """

    def __init__(
        self, folder: RunFolder | None, worker: str, scene: Scene, tracker: Tracker, places: Places
    ) -> None:
        self._folder, self._worker, self._scene, self._tracker, self._places = (
            folder,
            worker,
            scene,
            tracker,
            places,
        )
        self._answered = folder.requested_at() if folder else 0
        self.stacks_shown = ""
        #: Tells what this process holds of the budget and what it waits for.
        self.leases: Callable[[], list[str]] = list

    def answer(self) -> None:
        """Write our state if another process has asked for it since the last time."""
        if self._folder and (asked := self._folder.requested_at()) != self._answered:
            self._answered = asked
            self.introduce()

    def introduce(self) -> None:
        """Write our state: the others know from it that we are there."""
        # Somebody may remove the folder, or the disk be full: no wait may go unbounded for that.
        with contextlib.suppress(OSError):
            if self._folder:
                self._folder.write_state(self._worker, self._state())

    def write(self, stall: Stall) -> str:
        """Write stacks and state, ask the others for theirs, and return all of it as text."""
        if self._folder is None:
            return self._text(stall, self._state(), [])
        try:
            path = self._folder.write_stacks(self._worker, os.getpid(), f"{stall}\n\n{all_stacks()}\n")
            self.stacks_shown = f"stacks/{path.name}"
            others = self._others(self._folder)
        except OSError:  # as in introduce
            others = []
        return self._text(stall, self._state(), others)

    def _others(self, folder: RunFolder) -> list[dict[str, Any]]:
        folder.request_states()
        # Its time is by the clock of the file system, as the times of the answers are.
        self._answered = asked = folder.requested_at()
        folder.write_state(self._worker, self._state())
        # Bounded, and cut short once all who introduced themselves have answered; beside the stalled test.
        known = len(folder.states(0))
        end = time.monotonic() + _OTHERS_ANSWER_WITHIN
        while time.monotonic() < end and len(folder.states(asked)) < known:
            time.sleep(0.05)
        return [state for state in folder.states(asked) if state["worker"] != self._worker]

    def _state(self) -> dict[str, Any]:
        owner, progress = self._scene.owner, self._scene.progress
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "test": owner.node if owner else None,
            "phase": self._scene.phase,
            "idle": time.monotonic() - progress if progress is not None else 0.0,
            "waits": self._waits_in(),
            "left": self._left(),
            "leases": self.leases(),
        }

    def _waits_in(self) -> str:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the documented way
        inmost = _telling(self._places.read(capture(frame)))
        return f"{inmost.file}:{inmost.line} {inmost.function}" if inmost else "(between two tests)"

    def _left(self) -> list[str]:
        found = []
        for suspect in self._tracker.abandoned():
            fixture = origin(suspect.birth, self._places)["fixture"]
            line = _telling(created(suspect.birth, self._places))
            place = f", {line.file}:{line.line}" if line else ""
            by = f"fixture `{fixture['name']}` of " if fixture else ""
            test = suspect.birth.test.rpartition("::")[2]
            found.append(f"{suspect.title}, by {by}{test}{place}")
        return found

    def _text(self, stall: Stall, own: dict[str, Any], others: list[dict[str, Any]]) -> str:
        what = f"in its {stall.phase} " + ("and was ended" if stall.ended else "and goes on waiting")
        lines = [f"GPG601: {stall.test} made no progress for {format_seconds(stall.idle)} {what}"]
        for state in (own, *others):
            lines += _process_lines(state)
        if self.stacks_shown:
            lines.append(f"  stacks of all threads: {self.stacks_shown} in the run's folder")
        lines.append("  hint: what is still held must be given back by the fixture that took it;")
        lines.append("        --gpuguard-reap stops leaked threads, --gpuguard-stall-end sets this limit")
        return "\n".join(lines)


def _telling(frames: Sequence[Frame]) -> Frame | None:
    """Return the innermost frame of the project, else of a library: nobody looks for a lock in a lock."""
    for roles in ({"app", "fixture", "test"}, {"library"}):
        for frame in reversed(frames):
            if frame.role in roles:
                return frame
    return None


def _process_lines(state: dict[str, Any]) -> list[str]:
    lines = [f"  {state['worker']}  pid {state['pid']}  {state['test'] or 'no test'}"]
    if state["test"]:
        lines.append(f"      for {format_seconds(state['idle'])} in {state['waits']}")
    lines += [f"      {lease}" for lease in state["leases"]]
    left = state["left"]
    if left:
        lines.append(
            f"      left behind by earlier tests, still alive and holding what they hold: {len(left)}"
        )
        lines += [f"        {entry}" for entry in left[:_MOST_SHOWN]]
        if len(left) > _MOST_SHOWN:
            lines.append(f"        and {len(left) - _MOST_SHOWN} more")
    return lines
