"""Makes the recorded run and its views anew: ``python -m tests.golden.record``; ``--views``: only these.

The run is a real one, of the suite below; its views are what the unit tests compare with. Read the
difference before it is committed: it is what people will see.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from pytest_gpuguard.report.model import RunReport
from pytest_gpuguard.report.text import closing_lines, plain, section_lines

__all__ = ["VIEWS", "read", "view"]

HERE = Path(__file__).parent
RECORD = HERE / "run.json"
#: File of each view, and its verbosity.
VIEWS = {"quiet.txt": -1, "default.txt": 0, "verbose.txt": 1, "all.txt": 2}

SOLVER = """
import threading

class WritebackWatcher:
    def __init__(self, fails=False):
        self.fails, self.over = fails, threading.Event()

    def start(self):
        self.thread = threading.Thread(target=self._run, name="writeback", daemon=True)
        self.thread.start()

    def _run(self):
        if self.fails:
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED: the device is lost, and all that was queued too")
        self.over.wait()

    def wait_all(self):
        self.over.wait()

    def shutdown(self):
        self.over.set()

class ChunkedSolver:
    def __init__(self, fails=False):
        self.watcher = WritebackWatcher(fails)

    def solve(self):
        self.watcher.start()
        return self

    def close(self):
        self.watcher.shutdown()
"""

SUITE = """
import threading
import time
import pytest
from solver import ChunkedSolver, WritebackWatcher

@pytest.fixture
def chunked_solved_solver():
    return ChunkedSolver().solve()

@pytest.fixture(scope="module")
def shared_solver():
    yield ChunkedSolver().solve()

class TestDeviceArraysWithAVeryLongNameOfTheKindThatGeneratorsOfTestSuitesLikeToWrite:
    class Inner:
        @staticmethod
        def a_helper_whose_name_goes_on_and_on_until_nothing_else_fits_into_the_line():
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_long(self):
        self.Inner.a_helper_whose_name_goes_on_and_on_until_nothing_else_fits_into_the_line()

@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_shape(chunked_solved_solver, dtype): pass

def test_fails(chunked_solved_solver):
    assert chunked_solved_solver is None

def test_shared(shared_solver): pass

def test_starts_a_watcher():
    WritebackWatcher().start()

def test_waits_for_the_dead():
    ChunkedSolver(fails=True).solve().watcher.wait_all()

def test_makes_no_progress():
    WritebackWatcher().wait_all()
"""

_SWITCHES = [
    "--gpuguard-report=out",
    "--gpuguard-settle=0.2s",
    "--gpuguard-stall=0.5s",
    "--gpuguard-stall-end=1s",
]


def read() -> RunReport:
    """Return the recorded run."""
    return msgspec.json.decode(RECORD.read_bytes(), type=RunReport)


def view(report: RunReport, verbosity: int) -> str:
    """Return what a terminal shows of ``report``."""
    lines = section_lines(report, verbosity)
    return plain([*lines, *(closing_lines(report) if verbosity >= 0 else [])]) + "\n"


def _record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "solver.py").write_text(SOLVER)
        (Path(folder) / "test_chunks.py").write_text(SUITE)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--gpuguard", *_SWITCHES]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": folder}
        subprocess.run(command, cwd=folder, env=environment, check=False, timeout=120)
        RECORD.write_bytes((Path(folder) / "out" / "report.json").read_bytes())


def main(*args: str) -> None:
    """Write the run, unless it is only the views that changed, and its views."""
    if "--views" not in args:
        _record()
    for name, verbosity in VIEWS.items():
        (HERE / name).write_text(view(read(), verbosity))


if __name__ == "__main__":
    main(*sys.argv[1:])
