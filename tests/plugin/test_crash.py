"""Workers that die: each death is told once, with last words, and everything else runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

from pytest_gpuguard import Budget
from pytest_gpuguard.report.assemble import assemble
from tests.helpers.inner import Runner

BOUND = 60

DIES = """
    import faulthandler, os, signal
    import pytest

    def test_segfaults():
        faulthandler._sigsegv()

    @pytest.mark.gpu(pinned="1 MiB")
    def test_is_killed(pinned_array):
        pinned_array(1000, "u1")
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.fixture
    def dies_in_teardown():
        yield
        os._exit(3)

    def test_dies_in_its_teardown(dies_in_teardown): pass

    @pytest.mark.parametrize("n", range(10))
    def test_free(n): pass
"""


@pytest.fixture
def budget(tmp_path, run_two):
    run_two.setenv("NUMBA_ENABLE_CUDASIM", "1")
    return tmp_path / "budget"


def test_each_death_is_told_once_with_last_words(run_two, budget):
    inner = run_two.watched(f"--gpuguard-budget-dir={budget}", "--junitxml=junit.xml", test_it=DIES)
    assert inner.outcomes == {
        "test_segfaults": "failed",
        "test_is_killed": "failed",
        "test_dies_in_its_teardown": "passed, teardown failed",
    } | {f"test_free[{n}]": "passed" for n in range(10)}
    text = inner.text("test_segfaults")
    assert "GPG602: worker gw" in text
    assert "died while it ran test_it.py::test_segfaults in its call" in text
    assert "Segmentation fault" in text
    assert "in test_segfaults" in text
    text = inner.text("test_is_killed")
    assert "holds 1.0 MiB pinned" in text
    assert "last allocation: 1000 B pinned" in text
    assert "at test_it.py:9" in text
    assert "it left no stacks: killed from outside" in text
    assert "in its teardown" in inner.text("test_dies_in_its_teardown")
    faults = {fault.nodeid.partition("::")[2]: fault for fault in inner.report.faults}
    assert set(faults) == {"test_segfaults", "test_is_killed", "test_dies_in_its_teardown"}
    assert {fault.code for fault in faults.values()} == {"GPG602"}
    assert "Segmentation fault" in inner.stacks[faults["test_segfaults"].state.removeprefix("stacks/")]
    assert [worker.end for worker in inner.report.workers].count("crashed") == 3
    cases = ET.parse(inner.folder / "junit.xml").getroot()[0]
    mine = [case for case in cases if case.get("name") == "test_segfaults"]
    assert [[child.tag for child in case] for case in mine] == [["failure"]]
    assert "_ test_segfaults _" in inner.out, "the heading names the test"
    until(lambda: Budget({}, budget).snapshot().holders == (), "the end of all leases")


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_a_worker_that_was_interrupted_was_not_killed(run_two, how):
    inner = run_two.watched(test_it=f"import pytest\ndef test_a(): pass\ndef test_ends():\n    {how}")
    assert inner.ret == 2
    text = inner.text("test_ends")
    assert "it was interrupted: " in text
    assert "killed" not in text
    assert [fault.error.partition(":")[0] for fault in inner.report.faults] == ["it was interrupted"]


def test_maxfail_counts_deaths(run_two):
    inner = run_two.watched(
        "-x",
        test_it="""
            import os, time
            import pytest

            def test_dies():
                os._exit(3)

            @pytest.mark.parametrize("n", range(60))
            def test_slow(n):
                time.sleep(0.3)
        """,
    )
    assert inner.outcomes["test_dies"] == "failed"
    assert len(inner.outcomes) < 50
    assert inner.ret in {1, 2}


# Runs that are ended from outside.

ENDED = """
    import os, time
    from pathlib import Path
    import pytest

    # Whichever is first on a worker: the first of all hangs, the second goes on in its call for a while.
    @pytest.mark.gpu(pinned="1 MiB")
    @pytest.mark.parametrize("n", range(4))
    def test_it(n):
        try:
            role = "a", os.open("a", os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            role = "b", os.open("b", os.O_CREAT | os.O_EXCL)
        Path("pid-" + role[0]).write_text(str(os.getpid()))
        while role[0] == "a" or not Path("go").exists():
            time.sleep(0.01)
        time.sleep(0.3)
"""


def until(condition, what):
    end = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {BOUND} s"
        time.sleep(0.05)
    return found


def alive(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def started(pytester, monkeypatch, budget):
    """A run with two workers, both in a test and with a lease; returns its process and the workers' pids."""
    Runner(pytester, monkeypatch, [])
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    pytester.makepyfile(test_it=ENDED)
    command = [sys.executable, "-m", "pytest", "-n2", "--gpuguard", "--gpuguard-settle=0.5s"]
    process = subprocess.Popen(
        [*command, f"--gpuguard-budget-dir={budget}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pids = []
    for name in ("a", "b"):
        path = pytester.path / f"pid-{name}"
        pids.append(until(lambda path=path: path.exists() and path.read_text(), f"test {name}"))
    yield process, [int(pid) for pid in pids]
    process.kill()
    process.wait()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_workers_without_a_controller_end_and_free_their_leases(started, number, pytester, budget):
    process, pids = started
    assert len(Budget({}, budget).snapshot().holders) == 2
    process.send_signal(number)
    process.wait(BOUND)
    (pytester.path / "go").touch()
    until(lambda: not any(map(alive, pids)), "the end of both workers")
    until(lambda: Budget({}, budget).snapshot().holders == (), "the end of all leases")
    (folder,) = (pytester.path / ".pytest_cache" / "d" / "gpuguard").glob("*-*")
    record = assemble(folder, alive=False)
    assert record.run.end == "cut off"
    assert 1 <= len(record.unfinished) <= 2


def test_an_interrupted_run_ends_with_its_record(started, pytester, budget):
    process, pids = started
    process.send_signal(signal.SIGINT)
    (pytester.path / "go").touch()
    out, _ = process.communicate(timeout=BOUND)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    until(lambda: not any(map(alive, pids)), "the end of both workers")
    until(lambda: Budget({}, budget).snapshot().holders == (), "the end of all leases")
    (path,) = (pytester.path / ".pytest_cache" / "d" / "gpuguard").glob("*/report.json")
    assert json.loads(path.read_bytes())["run"]["end"] == "interrupted"
