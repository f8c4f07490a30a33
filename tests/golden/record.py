"""Makes recorded runs and their views anew: ``python -m tests.golden.record [NAME...] [--views]``.

The runs are real ones, of the suite below and of the situations, all of them or those that are named; with
``--views`` only their views are made anew. These are what the unit tests compare with. Read the difference
before it is committed: it is what people will see.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import msgspec

from pytest_gpuguard.report.annotations import annotate
from pytest_gpuguard.report.baseline import Baseline, accept, write_baseline
from pytest_gpuguard.report.markdown import step_summary
from pytest_gpuguard.report.model import RunReport
from pytest_gpuguard.report.reading import read_report
from pytest_gpuguard.report.runs import find, load
from pytest_gpuguard.report.text import Line, closing_lines, plain, section_lines
from tests.golden.situations import SITUATIONS, WATCHER, Situation

__all__ = ["VIEWS", "read", "read_situation", "view", "views_of"]

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
    gap: list[Line] = [[]] if lines and verbosity >= 0 else []
    return plain([*lines, *gap, *(closing_lines(report) if verbosity >= 0 else [])]) + "\n"


def views_of(report: RunReport) -> dict[str, str]:
    """Return what a situation is shown as, by file name."""
    return {
        "text.txt": view(report, 0),
        "summary.md": step_summary(report),
        "annotations.txt": "".join(f"{line}\n" for line in annotate(report)),
    }


def read_situation(name: str) -> RunReport:
    """Return the recorded run of a situation."""
    return read_report((HERE / "situations" / f"{name}.json").read_bytes(), name)


def _command(*args: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "--gpuguard", "--gpuguard-settle=0.2s", *args]


def _run(folder: Path, situation: Situation, *more: str) -> None:
    where = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "HOME": str(folder)}
    where |= situation.environment
    pool = f"--gpuguard-pool=golden-{os.getpid()}"
    command = _command("--gpuguard-report=out", *situation.args, pool, *more)
    run = subprocess.Popen(command, cwd=folder, env=where)
    if situation.kill:
        end = time.monotonic() + 60
        while not (folder / situation.kill).exists() and time.monotonic() < end:
            time.sleep(0.05)
        run.kill()
    run.wait(120)


def _record_situation(name: str) -> None:
    situation = SITUATIONS[name]
    with tempfile.TemporaryDirectory() as text:
        folder, more = Path(text), ()
        (folder / "watcher.py").write_text(WATCHER)
        (folder / "test_it.py").write_text(situation.suite)
        _run(folder, situation)
        if situation.accept is not None:
            _accept(folder, situation.accept)
            (folder / "test_it.py").write_text(situation.then or situation.suite)
            more = ("--gpuguard-baseline=known.json",)
            _run(folder, situation, *more)
        report = load(find("last", folder / ".pytest_cache"))
    encoded = msgspec.json.format(msgspec.json.encode(_without_pools(report)), indent=1)
    (HERE / "situations" / f"{name}.json").write_bytes(encoded + b"\n")


def _without_pools(report: RunReport) -> RunReport:
    """Return the record without the pool that was chosen so that it disturbs nobody."""
    settings = {name: setting for name, setting in report.settings.items() if name != "pool"}
    argv = [arg for arg in report.run.argv if not arg.startswith("--gpuguard-pool")]
    return msgspec.structs.replace(
        report, settings=settings, run=msgspec.structs.replace(report.run, argv=argv)
    )


def _accept(folder: Path, occurrences: int) -> None:
    report = load(folder / "out")
    day = date(2026, 11, 2)
    entries = [
        msgspec.structs.replace(
            accept(group, "known upstream", "#9123", "2099-01-31", day), occurrences=occurrences
        )
        for group in report.groups
    ]
    (folder / "known.json").write_bytes(write_baseline(Baseline(leaks=entries)))


def _record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "solver.py").write_text(SOLVER)
        (Path(folder) / "test_chunks.py").write_text(SUITE)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--gpuguard", *_SWITCHES]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": folder}
        subprocess.run(command, cwd=folder, env=environment, check=False, timeout=120)
        RECORD.write_bytes((Path(folder) / "out" / "report.json").read_bytes())


def main(*args: str) -> None:
    """Write the runs, unless it is only the views that changed, and their views."""
    names = [name for name in args if name in SITUATIONS]
    (HERE / "situations").mkdir(exist_ok=True)
    if "--views" not in args:
        if not names:
            _record()
        for name in names or SITUATIONS:
            _record_situation(name)
    for name, verbosity in VIEWS.items():
        (HERE / name).write_text(view(read(), verbosity))
    for name in SITUATIONS:
        for file, text in views_of(read_situation(name)).items():
            (HERE / "situations" / f"{name}.{file}").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
