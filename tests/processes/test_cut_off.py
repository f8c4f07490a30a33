"""A run whose controller is killed in the middle: what was known is there, and said not to be all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pytest_gpuguard.report.runs import find, is_alive, load
from tests.helpers.inner import QUICK, WAYS

SUITE = """
    import threading, time
    from pathlib import Path
    import pytest

    class Watcher:
        def __init__(self):
            self.over = threading.Event()
        def start(self):
            threading.Thread(target=self.work, daemon=True).start()
            return self
        def work(self):
            self.over.wait()
        def close(self):
            self.over.set()

    @pytest.fixture
    def leaky():
        return Watcher().start()

    @pytest.mark.parametrize("n", range(4))
    def test_leaks(leaky, n): pass

    def test_fails(): assert 0

    @pytest.mark.parametrize("n", range(2))
    def test_hangs(n):
        Path(f"reached-{n}").touch()
        while not Path("over").exists():
            time.sleep(0.05)
"""


def _wait_for(condition, what):
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
def test_of_a_killed_run_all_that_was_known_is_left(way, pytester, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("GPUGUARD", "PYTEST_", "CI", "GITHUB"))]:
        monkeypatch.delenv(name)
    pytester.makepyfile(test_it=SUITE)
    command = [sys.executable, "-m", "pytest", *QUICK, *WAYS[way], "--gpuguard", "--gpuguard-settle=0.1s"]
    folder, cache = pytester.path, pytester.path / ".pytest_cache"
    log = (folder / "log").open("w")
    # A session of its own: that all of it can be ended at the end, whatever comes.
    run = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        # Tests are handed out in order: what comes after a hanging one is at most the other of them.
        _wait_for(lambda: list(folder.glob("reached-*")), "the tests were not reached")
        living = find("last", cache)
        assert is_alive(living)
        _wait_for(lambda: len(load(living).tests) == 5, "the tests before it did not end")
        now = load(living)
        assert now.run.end == "running"
        assert now.unfinished
        os.kill(run.pid, signal.SIGKILL)
        run.wait(60)
        _wait_for(lambda: not is_alive(living), "the lock of a killed run is free")
        report = load(living)
    finally:
        (folder / "over").touch()
        run.kill()
        run.wait(60)
        log.close()
    assert report.run.end == "cut off"
    assert report.run.argv[-2:] == ["--gpuguard", "--gpuguard-settle=0.1s"]
    assert report.settings["settle"].value == "0.1s"
    outcomes = {span.nodeid.partition("::")[2]: span.outcome for span in report.tests}
    assert {name for name in outcomes if name.startswith("test_leaks")} == {
        f"test_leaks[{n}]" for n in range(4)
    }
    assert outcomes["test_fails"] == "failed"
    (group,) = report.groups
    assert (group.totals.occurrences, group.leaks[0].origin.fixture.name) == (4, "leaky")
    assert {span.nodeid.partition("[")[0] for span in report.unfinished} == {"test_it.py::test_hangs"}
    assert "open" in {worker.end for worker in report.workers}
    assert all(worker.pid for worker in report.workers)
    assert report.verdict.leaks == 1


def test_a_run_that_ended_leaves_a_record_and_no_journal(pytester):
    pytester.makepyfile(test_it="def test_it(): pass")
    assert pytester.runpytest_subprocess("--gpuguard", "-p", "no:xdist").ret == 0
    run = find("last", pytester.path / ".pytest_cache")
    assert {path.name for path in run.iterdir()} >= {"report.json"}
    assert not {path.name for path in run.iterdir()} & {"journal", "run.json"}
    report = load(run)
    assert (report.run.end, report.run.exit_status) == ("finished", 0)
    assert report.run.versions["pytest"] == pytest.__version__
    (worker,) = report.workers
    assert worker.finished is not None
