"""What is known when a test makes no progress: where it waits, what is still held, what the others do."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.ended import TestEnded
from pytest_gpuguard.report.lines import count
from pytest_gpuguard.track.leak import created, origin
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.stall import Stall, all_stacks
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_gpuguard.hooks.runfolder import RunFolder
    from pytest_gpuguard.track.living import Thing
    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Frame, Places
    from pytest_gpuguard.track.tracker import Tracker

__all__ = ["Dossier"]

_OTHERS_ANSWER_WITHIN = 1.5
_LOOKS = 5
_MOST_ALIVE = 6


class Dossier:
    """Writes this process's state and reads those of the run's other processes.

    Parameters
    ----------
    folder
        The run's folder; without it there is no file and no word of the others.
    worker, scene, tracker, places, started
        Who we are, what is running, what is left, how files are shown, when the run began.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        worker: str,
        scene: Scene,
        tracker: Tracker,
        places: Places,
        started: float,
    ) -> None:
        self._folder, self._worker, self._scene, self._tracker, self._places = (
            folder,
            worker,
            scene,
            tracker,
            places,
        )
        self._answered = folder.requested_at() if folder else 0
        self._known = False
        self._started = started
        self._facts: dict[Stall, dict[str, Any]] = {}
        #: Of the last dossier: the stacks of this process, and those without the main thread's.
        self.stacks = self.beside = ""
        #: Tells what this process holds of the budget and what it waits for.
        self.leases: Callable[[], list[str]] = list
        #: Tells who waits for whom in the budget, as in :class:`~pytest_gpuguard.report.model.Edge`.
        self.edges: Callable[[], Iterable[tuple[str, str, str, int]]] = tuple
        #: Tells, as the record does, of threads that ended with an exception while the test went on.
        self.deaths: Callable[[], list[dict[str, Any]]] = list
        #: Tells what of the device libraries is alive in this process.
        self.things: Callable[[], Iterable[Thing]] = tuple

    def answer(self) -> None:
        """Write our state, and our stacks, if another process has asked for it since the last time."""
        if not self._known:
            self._known = True
            self._introduce()
        if self._folder and (asked := self._folder.requested_at()) != self._answered:
            self._answered = asked
            with contextlib.suppress(OSError):
                asked_for = "asked for by another process"
                path = self._folder.write_stacks(
                    self._worker, os.getpid(), f"{asked_for}\n\n{all_stacks()}\n"
                )
                self._folder.write_state(self._worker, self._state(f"stacks/{path.name}"))

    def leave(self) -> None:
        """Be asked no more."""
        if self._folder:
            with contextlib.suppress(OSError):
                self._folder.forget_state(self._worker)

    def _introduce(self) -> None:
        # The others know from it that we are there, and answer.
        # Somebody may remove the folder, or the disk be full: no wait may go unbounded for that.
        with contextlib.suppress(OSError):
            if self._folder:
                self._folder.write_state(self._worker, self._state(place="(before its first test)"))

    def write(self, stall: Stall) -> str:
        """Write stacks and state, ask the others for theirs, and return all of it as text."""
        from pytest_gpuguard.report.dossier import dossier, dossier_edges, dossier_states

        self.stacks, self.beside, shown = all_stacks(), all_stacks(main=False), ""
        others: list[dict[str, Any]] = []
        silent: list[str] = []
        with contextlib.suppress(OSError):  # as above
            if self._folder:
                path = self._folder.write_stacks(self._worker, os.getpid(), f"{stall}\n\n{self.stacks}\n")
                shown = f"stacks/{path.name}"
                others, silent = self._others(self._folder)
        states, edges = [self._state(), *others], dossier_edges(self.edges())
        self._facts[stall] = {
            "states": dossier_states(states),
            "edges": edges,
            "stacks": shown,
            "at": clock.monotonic() - self._started,
        }
        what = f"in its {stall.phase} " + ("and was ended" if stall.ended else "and goes on waiting")
        headline = f"GPG601: {stall.test} made no progress for {format_seconds(stall.idle)} {what}"
        return dossier(headline, states, edges, silent, shown)

    def survey(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the states of all processes, this one first, and the names of those that did not answer."""
        own = self._state(place="the phase that failed")
        with contextlib.suppress(OSError):  # as above
            if self._folder:
                others, silent = self._others(self._folder)
                return [own, *others], silent
        return [own], []

    def error(self, text: str) -> TestEnded:
        """Return what ends the wait of a test, with the other threads' stacks from the last dossier."""
        error = TestEnded(text)
        error.stacks = self.beside
        return error

    def record(self, stall: Stall) -> dict[str, Any]:
        """Return a stall as the record has it."""
        return {
            "nodeid": stall.test,
            "phase": stall.phase,
            "worker": self._worker,
            "idle_s": stall.idle,
            "ended": stall.ended,
            "how": stall.how,
            **self._facts.pop(stall, {"stacks": ""}),
        }

    def _others(self, folder: RunFolder) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the states of the other processes, and the names of those that did not answer."""
        folder.request_states()
        # Its time is by the clock of the file system, as the times of the answers are.
        self._answered = asked = folder.requested_at()
        folder.write_state(self._worker, self._state())
        return folder.gather_states(asked, self._worker, _OTHERS_ANSWER_WITHIN)

    def _state(self, stacks: str = "", place: str = "") -> dict[str, Any]:
        owner, progress = self._scene.owner, self._scene.progress
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "nodeid": owner.node if owner else "",
            "phase": self._scene.phase,
            "idle_s": clock.monotonic() - progress if progress is not None else 0.0,
            "place": place or self._waits_in(),
            "died": [f"{death['thread']!r} ended with {death['error']}" for death in self.deaths()],
            "left": self._left(),
            "alive": self._alive(),
            "leases": self.leases(),
            "stacks": stacks,
        }

    def _waits_in(self) -> str:
        # The main thread may run on while its frames are read, which then end early: look again.
        for _ in range(_LOOKS):
            frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the documented way
            inmost = _telling(self._places.read(capture(frame)))
            if inmost is not None and inmost.role != "library":
                break
            clock.sleep(0.002)
        return f"{inmost.file}:{inmost.line} {inmost.function}" if inmost else "(between two tests)"

    def _left(self) -> list[str]:
        return [f"{left.title}, by {self._maker(left.birth)}" for left in self._tracker.abandoned()]

    def _maker(self, birth: Birth) -> str:
        """Return which fixture or test made a thing, and in which line."""
        fixture = origin(birth, self._places)["fixture"]
        line = _telling(created(birth, self._places))
        place = f", {line.file}:{line.line}" if line else ""
        by = f"fixture `{fixture['name']}` of " if fixture else ""
        return f"{by}{birth.test.rpartition('::')[2] or 'nobody, before the first test'}{place}"

    def _alive(self) -> list[str]:
        """Return the buffers that are alive, by who made them, the largest first."""
        sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for thing in self.things():
            if thing.nbytes:
                sizes[thing.kind, self._maker(thing.birth)].append(thing.nbytes)
        largest = sorted(sizes.items(), key=lambda entry: -sum(entry[1]))[:_MOST_ALIVE]
        return [
            f"{format_bytes(sum(each))} {kind} in {count(len(each), 'buffer')}, by {maker}"
            for (kind, maker), each in largest
        ]


def _telling(frames: Sequence[Frame]) -> Frame | None:
    """Return the innermost frame of the project, else of a library: nobody looks for a lock in a lock."""
    for roles in ({"app", "fixture", "test"}, {"library"}):
        for frame in reversed(frames):
            if frame.role in roles:
                return frame
    return None
