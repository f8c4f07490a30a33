"""A pytest run as a child process: followed line by line, ended at its limit with everything it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.report.model import RunReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Outcome", "run_pytest"]

_RESULT = re.compile(
    r"(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|LEAKED)\s+(\S+::\S+)|(\S+::\S+)\s+(?:PASSED|FAILED|ERROR)"
)
_TOTAL = re.compile(r"\[(\d+) items?\]|collected (\d+) items?")


@dataclass(slots=True)
class Outcome:
    """What is known of a run, while it goes on and afterwards."""

    finished: set[str] = field(default_factory=set)
    last: str = ""
    total: int = 0
    seconds: float = 0.0
    killed: bool = False
    status: int | None = None
    report: RunReport | None = None
    output: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Take one line of pytest's output."""
        self.output.append(line)
        if total := _TOTAL.search(line):
            self.total = int(total[1] or total[2])
        if result := _RESULT.search(line):
            self.last = result[1] or result[2]
            self.finished.add(self.last)


def _environment() -> dict[str, str]:
    # What the caller has set for its own runs must not change these.
    return {name: value for name, value in os.environ.items() if not name.startswith(("GPUGUARD", "PYTEST_"))}


def run_pytest(
    root: Path, arguments: Sequence[str], folder: Path, limit: float, tick: Callable[[Outcome], None]
) -> Outcome:
    """Run pytest in ``root`` and follow it.

    Parameters
    ----------
    root
        Working folder.
    arguments
        Of pytest.
    folder
        Where the run is told to leave its report, read back afterwards if it is there.
    limit
        Seconds after which the run and all its children are killed.
    tick
        Called about five times a second with what is known so far.
    """
    outcome, begun = Outcome(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", "--color=no", *arguments],
        cwd=root,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # a group of its own, so that its workers die with it
    )
    reader = threading.Thread(target=_follow, args=(process, outcome), daemon=True)
    reader.start()
    try:
        while process.poll() is None and not outcome.killed:
            time.sleep(0.2)
            outcome.seconds = time.monotonic() - begun
            tick(outcome)
            outcome.killed = outcome.seconds > limit
    finally:
        _end(process)
    reader.join(5.0)
    outcome.seconds, outcome.status = time.monotonic() - begun, process.returncode
    path = folder / "report.json"
    if path.is_file():
        outcome.report = msgspec.json.decode(path.read_bytes(), type=RunReport)
    return outcome


def _follow(process: subprocess.Popen[str], outcome: Outcome) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            outcome.read(line.rstrip("\n"))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10.0)
