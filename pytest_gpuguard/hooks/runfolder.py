"""The folder of one run, shared by its processes: states that workers ask of each other, stacks, the record.

It lies in pytest's cache, so that a run can be looked at afterwards without having asked for a report; the
last five are kept. Names in it are worker ids and pids, never anything that a test can choose.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["RunFolder"]

_KEPT = 5


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

    @classmethod
    def create(cls, config: pytest.Config, run: str) -> RunFolder:
        """Make the folder of a new run, and forget the oldest ones."""
        cache = getattr(config, "cache", None)  # the cache provider can be switched off
        runs = Path(cache.mkdir("gpuguard") if cache else tempfile.mkdtemp(prefix="gpuguard-"))
        folder = runs / run
        (folder / "stacks").mkdir(parents=True)
        (folder / "state").mkdir()
        old = sorted(
            (path for path in runs.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
        )
        for path in old[:-_KEPT]:
            shutil.rmtree(path, ignore_errors=True)
        return cls(folder)

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
        self._replace(self.path / "state" / f"{worker}.json", json.dumps(state))

    def states(self, since_ns: int) -> list[dict[str, Any]]:
        """Return the states written since ``since_ns``, by worker."""
        paths = sorted((self.path / "state").glob("*.json"))
        return [json.loads(path.read_text()) for path in paths if path.stat().st_mtime_ns >= since_ns]

    def write_stacks(self, worker: str, pid: int, text: str) -> Path:
        """Append stacks to the file of a process; return its path."""
        path = self.path / "stacks" / f"{worker}-{pid}.txt"
        with path.open("a") as file:
            file.write(text)
        return path

    def write_report(self, encoded: bytes) -> Path:
        """Write the record; return its path."""
        path = self.path / "report.json"
        self._replace(path, encoded.decode())
        return path

    def export(self, folder: Path) -> None:
        """Copy record and stacks to a folder that keeps itself out of version control."""
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        shutil.copy2(self.path / "report.json", folder / "report.json")
        stacks = folder / "stacks"
        shutil.rmtree(stacks, ignore_errors=True)
        if any((self.path / "stacks").iterdir()):
            shutil.copytree(self.path / "stacks", stacks)

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)
