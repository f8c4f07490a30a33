"""Child processes: running ones, and zombies that nobody waited for."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard import clock
from pytest_gpuguard.forks import in_each_parent
from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.libraries import kept_for_good
from pytest_gpuguard.track.looking import LookingProbe
from pytest_gpuguard.track.objects import instances
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["ProcessProbe", "ProcessSuspect"]

#: What multiprocessing and its relatives keep for good, by a part of the command line.
KNOWN = {
    "multiprocessing.resource_tracker": "multiprocessing keeps one resource tracker",
    "multiprocessing.forkserver": "multiprocessing keeps one fork server",
    "loky.backend.resource_tracker": "loky (joblib) keeps one resource tracker",
}
_STATES = {"Z": "zombie", "X": "zombie", "T": "stopped", "t": "stopped"}
_OFTEN = 0.01
_PYTHON = re.compile(r"python[\d.]*t?|pytest")


class _Child(NamedTuple):
    """A child as the system has it."""

    pid: int
    state: str
    command: tuple[str, ...]
    name: str


def _child(pid: int) -> tuple[tuple[int, str], _Child] | None:
    """Return a child with its key, since a pid alone can be used again; None when it is gone or not ours."""
    head, _, rest = procfs.slurp(f"/proc/{pid}/stat").rpartition(")")
    words = rest.split()
    if not words or words[1] != str(os.getpid()):
        return None
    command = tuple(filter(None, procfs.slurp(f"/proc/{pid}/cmdline").split("\0")))
    child = _Child(pid, _STATES.get(words[0], "running"), command, head.partition("(")[2])
    return (pid, words[19]), child


def _called(child: _Child) -> str:
    """Return what a child runs, by a name that does not change with how this run was started.

    A fork has the name of this process: pytest, python3 as a worker of xdist's, or a title that it was given.
    """
    ours = procfs.slurp("/proc/self/comm").rstrip("\n")
    return "python" if child.name == ours or _PYTHON.fullmatch(child.name) else child.name


class ProcessSuspect(Suspect):
    """A child whose owner has ended."""

    kind = "process"
    code = "GPG103"

    def __init__(self, child: _Child, birth: Birth) -> None:
        self.child, self.birth = child, birth

    @property
    def patient(self) -> bool:  # type: ignore[override]
        return self.child.state != "zombie"

    @property
    def what(self) -> str:
        return self.birth.what

    @property
    def title(self) -> str:
        left = "child process" if self.child.state != "zombie" else "child process that nobody waited for,"
        return f"{left} {_called(self.child)}"

    @property
    def things(self) -> list[object]:
        owners = instances("subprocess:Popen", "multiprocessing.process:BaseProcess")
        return [owner for owner in owners if self.child.pid in _pids(owner)]

    def cpu_seconds(self) -> float | None:
        return procfs.cpu_seconds(str(self.child.pid))

    def subject(self, places: Places) -> dict[str, Any]:
        return {
            "pid": self.child.pid,
            "name": sound(self.child.name),
            "command": [places.scrub(sound(word)) for word in self.child.command],
            "state": self.child.state,
        }

    def reap(self, timeout: float) -> str:
        """Ask it to end, then make it."""
        if self.birth.certainty not in {"exact", "inherited"}:
            return "left alone: it was not seen being started here"
        pid, done = self.child.pid, "waited for"
        try:
            if self.child.state != "zombie":
                os.kill(pid, signal.SIGTERM)
                done = "terminated"
                if not _ended(pid, timeout):
                    os.kill(pid, signal.SIGKILL)
                    done = f"killed, as it went on for {timeout:g} s after SIGTERM"
                    _ended(pid, timeout)
            os.waitpid(pid, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            return "stopped before its turn: it ended by itself"
        return f"stopped: {done}"


def _pids(owner: object) -> tuple[int | None, int | None]:
    # multiprocessing holds what it started behind a name of its own.
    return vars(owner).get("pid"), getattr(vars(owner).get("_popen"), "pid", None)


def _ended(pid: int, timeout: float) -> bool:
    end = clock.monotonic() + timeout
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if clock.monotonic() > end:
            return False
        clock.sleep(_OFTEN)
    return True


class ProcessProbe(LookingProbe[_Child]):
    """Sees the children of this process, and where Python starts them."""

    kind = "process"
    watching = ("the system's list of children",)

    def __init__(self, scene: Scene, newest: procfs.Newest | None = None) -> None:
        super().__init__(scene)
        self._newest = newest or procfs.Newest()
        there = Path(f"/proc/self/task/{os.getpid()}/children").exists()
        self.unable = None if there else "this system does not list the children of a process"
        self._started: dict[int, Birth] = {}
        self._undo: list[Callable[[], None]] = []
        self._forks = False

    def begin(self) -> Callable[[], None]:
        # The kernel's list is of children of the main thread; of the others their start is news.
        self._children = procfs.Opened("/proc/self/task/{pid}/children")
        fd, close = self._children.fd, self._newest.open()
        self.count = lambda: os.pread(fd, 4096, 0)
        self._wrap_popen()
        # A fork is not wrapped: Python warns of some, and would name our line instead of the suite's.
        self._forks = True
        in_each_parent(self._forked)
        for name in ("posix_spawn", "posix_spawnp"):
            if hasattr(os, name):
                self._wrap_call(os, name)
        # By this multiprocessing starts what it does not fork. subprocess has a name of its own for it, and
        # waits afterwards until the child runs its program: so long nobody else would know whose it is.
        for below, name in ((sys.modules.get("_posixsubprocess"), "fork_exec"), (subprocess, "_fork_exec")):
            if hasattr(below, name):
                self._wrap_call(below, name)

        def undo() -> None:
            self._forks = False
            while self._undo:
                self._undo.pop()()
            self._children.close()
            close()

        return undo

    @property
    def pulses(self) -> tuple[Callable[[], object], ...]:
        return self._newest.pulses or super().pulses

    def _wrap_popen(self) -> None:
        original, probe = subprocess.Popen.__init__, self

        @functools.wraps(original)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            probe.record(self.pid, sys._getframe(1))  # noqa: SLF001 - the documented cheap way

        self._put(subprocess.Popen, "__init__", init)

    def _wrap_call(self, place: Any, name: str) -> None:
        original = getattr(place, name)

        @functools.wraps(original)
        def start(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            pid = result[0] if isinstance(result, tuple) else result
            if pid:
                self.record(pid, sys._getframe(1))  # noqa: SLF001
            return result

        self._put(place, name, start)

    def _put(self, place: Any, name: str, wrapper: Any) -> None:
        original = getattr(place, name)
        setattr(place, name, wrapper)

        def restore() -> None:
            # Somebody may have wrapped ours since: then ours must stay below theirs.
            if getattr(place, name) is wrapper:
                setattr(place, name, original)

        self._undo.append(restore)

    def _forked(self) -> None:
        if not self._forks:
            return
        # The youngest child of this thread, unless that has been waited for already.
        children = procfs.slurp(f"/proc/self/task/{threading.get_native_id()}/children").split()
        if children and int(children[-1]) not in self._started:
            self.record(int(children[-1]), sys._getframe(4))  # noqa: SLF001 - below is what calls this

    def record(self, pid: int, frame: Any) -> None:
        """Remember where a child was started."""
        self._started[pid] = self._scene.born("process", capture(frame))
        self._news = True

    def look(self) -> Mapping[tuple[int, str], _Child]:
        # Taken first: what a thread starts from here on may not be listed, and must not be forgotten.
        started = list(self._started)
        # Lists miss one when another, or its thread, ends while they are read: what was there is asked too.
        pids = {pid for pid, _ in self._details}.union(started)
        for tid in procfs.tasks():
            pids.update(map(int, procfs.slurp(f"/proc/self/task/{tid}/children").split()))
        details = dict(found for found in map(_child, pids) if found is not None)
        for pid in set(started).difference(pid for pid, _ in details):
            self._started.pop(pid, None)
        return details

    def sweep(self) -> None:
        super().sweep()
        # A thread may have been between a child's start and its record when the child was first listed.
        for key, detail in self._details.items():
            birth, recorded = self._births[key], self._started.get(key[0])
            if recorded is not None and recorded is not birth and not birth.reported:
                self._births[key] = self.born(key, detail)

    def what(self, detail: _Child) -> str:
        return f"process {_called(detail)}"

    def born(self, key: tuple[int, str], detail: _Child) -> Birth:
        birth = self._started.get(key[0]) or super().born(key, detail)
        birth.what = self.what(detail)
        return birth

    def suspect(self, key: tuple[int, str], detail: _Child, birth: Birth) -> ProcessSuspect:
        del key
        return ProcessSuspect(detail, birth)

    def known(self, suspect: Suspect) -> str | None:
        assert isinstance(suspect, ProcessSuspect)
        command = " ".join(suspect.child.command)
        return next((why for part, why in KNOWN.items() if part in command), None) or kept_for_good(suspect)
