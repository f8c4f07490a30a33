"""The folder of one run, shared by its processes: states that workers ask of each other, stacks, the record.

It lies in pytest's cache, so that a run can be looked at afterwards without having asked for a report; the
last five are kept, and whatever a living run still writes to. Names in it are worker ids and pids, never
anything that a test can choose.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuguard import clock
from pytest_gpuguard.forks import in_each_child
from pytest_gpuguard.hooks.cache import folder_in_cache
from pytest_gpuguard.report.alive import hold, taken
from pytest_gpuguard.report.places import ALIVE, HEAD, JOURNALS, REPORT, VITAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pytest

__all__ = ["RunFolder", "write_whole"]

_KEPT = 5
#: What stands in the beginning of each view.
_OURS, _BEGINNING = b"pytest-gpuguard", 1024
_STACKS = re.compile(r"\w+-\d+\.txt")


def _runs(config: pytest.Config) -> Path:
    """Return the folder of all runs: in pytest's cache, else one for this run alone that goes with it."""
    kept = folder_in_cache(config, "gpuguard")
    if kept is not None:
        return kept
    runs = Path(tempfile.mkdtemp(prefix="gpuguard-"))
    config.add_cleanup(lambda: shutil.rmtree(runs, ignore_errors=True))
    return runs


def _forget_all_but_the_last(others: Iterable[Path]) -> None:
    """Remove the oldest folders of runs that are over, so that with the new run's own there are five left.

    Living runs do not count: one that takes hours must neither lose its folder to five short ones, nor
    take the place of one of them.
    """
    over = 0
    # Names begin with the time to the microsecond: by name is by age.
    for folder in sorted((path for path in others if not path.name.startswith(".")), reverse=True):
        # Refused where it lives, gone where another run is forgetting it too.
        with contextlib.suppress(OSError), taken(folder / ALIVE) as free:
            over += free
            if free and over >= _KEPT:
                shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it meanwhile finds all of it, or what was there before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _refuse_if_theirs(path: Path) -> None:
    if path.exists():
        with path.open("rb") as file:
            if _OURS not in file.read(_BEGINNING):
                message = f"{path.name} is there and not ours: name another folder"
                raise FileExistsError(message)


class RunFolder:
    """Paths and small files of one run.

    Parameters
    ----------
    path
        An existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._request = path / "request"
        #: Whether it is to be there when the run is over.
        self.kept = False
        #: Whether this process has made or joined it, rather than being forked from one that has.
        self.ours = True
        in_each_child(self._leave_alone)

    @classmethod
    def create(cls, config: pytest.Config, run: str) -> RunFolder:
        """Make the folder of a new run, and forget the oldest ones."""
        runs = _runs(config)
        folder, unborn = runs / run, runs / f".{run}"
        (unborn / "stacks").mkdir(parents=True)
        (unborn / "state").mkdir()
        (unborn / VITAL).mkdir()
        # Held as long as this run lives. Taken before the folder has its name, by which others find it.
        release = hold(unborn / ALIVE)
        unborn.rename(folder)
        _forget_all_but_the_last(path for path in runs.iterdir() if path != folder)
        made = cls(folder)

        def leave() -> None:
            if made.ours and not made.kept:
                shutil.rmtree(folder, ignore_errors=True)
            release()

        config.add_cleanup(leave)
        return made

    def _leave_alone(self) -> None:
        self.ours = False

    @classmethod
    def join(cls, path: str) -> RunFolder | None:
        """Return the folder that the controller made; None where it cannot be reached, as on another host."""
        return cls(Path(path)) if path and Path(path).is_dir() else None

    def request_states(self) -> None:
        """Ask every process of the run to write its state."""
        self._request.touch()
        os.utime(self._request)

    def requested_at(self) -> int:
        """Return when states were last asked for, in nanoseconds; 0 when never."""
        try:
            return self._request.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def write_state(self, worker: str, state: dict[str, Any]) -> None:
        """Write the state of one process, whole or not at all."""
        write_whole(self.path / "state" / f"{worker}.json", json.dumps(state).encode())

    def states(self, since_ns: int) -> list[dict[str, Any]]:
        """Return the states written since ``since_ns``, by worker."""
        paths = sorted((self.path / "state").glob("*.json"))
        return [json.loads(path.read_bytes()) for path in paths if path.stat().st_mtime_ns >= since_ns]

    def gather_states(self, asked: int, but: str, patience: float) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the states that were written since ``asked``, and the names of those that do not answer.

        Bounded, and cut short once all who introduced themselves have answered.

        Parameters
        ----------
        but
            The process that is left out.
        patience
            Longest wait for the answers, in seconds.
        """
        known = {state["worker"] for state in self.states(0)}
        end = clock.monotonic() + patience
        while len(answers := self.states(asked)) < len(known) and clock.monotonic() < end:
            clock.sleep(0.05)
        others = [state for state in answers if state["worker"] != but]
        return others, sorted(known - {but} - {state["worker"] for state in others})

    def forget_state(self, worker: str) -> None:
        """Take a process that has ended out of those that are asked."""
        (self.path / "state" / f"{worker}.json").unlink(missing_ok=True)

    def vital(self, worker: str, kind: str) -> Path:
        """Return the path of what a process leaves however it ends: ``page``, ``stacks``, or ``end``."""
        return self.path / VITAL / f"{worker}.{kind}"

    def vitals(self) -> Iterator[tuple[str, Path]]:
        """Yield the name and the page of each process."""
        for path in sorted((self.path / VITAL).glob("*.page")):
            yield path.stem, path

    def write_end(self, worker: str, why: dict[str, Any]) -> None:
        """Say why a process is ended, before it is."""
        write_whole(self.vital(worker, "end"), json.dumps(why).encode())

    def end_of(self, worker: str) -> dict[str, Any]:
        """Return why we ended a process; empty when we did not."""
        try:
            why: dict[str, Any] = json.loads(self.vital(worker, "end").read_bytes())
        except (OSError, ValueError):
            return {}
        return why

    def write_stacks(self, worker: str, pid: int, text: str) -> Path:
        """Append stacks to the file of a process; return its path."""
        path = self.path / "stacks" / f"{worker}-{pid}.txt"
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return path

    def claim(self, name: str) -> bool:
        """Return whether this process is the first of the run that asks for ``name``."""
        try:
            os.close(os.open(self.path / f"first-{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except OSError:
            return False
        return True

    def write_head(self, encoded: bytes) -> None:
        """Write what is known of the run when it begins."""
        write_whole(self.path / HEAD, encoded)

    def forget_journals(self) -> None:
        """Remove journals and vitals: all that they say is in the record."""
        shutil.rmtree(self.path / VITAL, ignore_errors=True)
        shutil.rmtree(self.path / JOURNALS, ignore_errors=True)
        (self.path / HEAD).unlink(missing_ok=True)

    def write_report(self, encoded: bytes) -> Path:
        """Write the record; return its path."""
        path = self.path / REPORT
        write_whole(path, encoded)
        return path

    def export(self, folder: Path, views: Mapping[str, str]) -> None:
        """Copy record and stacks to ``folder``, with views beside them (texts by file name).

        One that is made here keeps itself out of version control. A folder that was there may be anybody's:
        in it nothing is touched but what an export has left.

        Raises
        ------
        OSError
            Also where a file of somebody else's has the name of one of ours.
        """
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_bytes(b"*\n")
        for name, text in views.items():
            _refuse_if_theirs(folder / name)
            write_whole(folder / name, text.encode())
        shutil.copy2(self.path / REPORT, folder / REPORT)
        for old in (folder / "stacks").glob("*.txt"):
            if _STACKS.fullmatch(old.name):
                old.unlink()
        shutil.copytree(self.path / "stacks", folder / "stacks", dirs_exist_ok=True)
        with contextlib.suppress(OSError):  # there are some
            (folder / "stacks").rmdir()
