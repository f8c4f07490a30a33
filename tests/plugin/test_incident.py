"""The example suites under the guard, as the README promises: real processes, real ends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_gpuguard.report.model import RunReport
from tests.helpers.inner import QUICK

ROOT = Path(__file__).resolve().parents[2]
XDIST = pytest.mark.parametrize("xdist", [("-n", "2"), ("-p", "no:xdist")], ids=["two workers", "no xdist"])


def guarded(tmp_path, suite, *options):
    """Run a suite of ``examples`` under the guard; return exit status, output and record."""
    command = [sys.executable, "-m", "pytest", *QUICK, "-p", "no:cacheprovider", "--gpuguard"]
    command += [
        f"--gpuguard-report={tmp_path}",
        f"--basetemp={tmp_path / 'base'}",
        *options,
        f"examples/{suite}",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=RunReport)
    return result.returncode, result.stdout, report


@XDIST
def test_the_incident_ends_and_its_leak_is_named(tmp_path, xdist):
    options = (*xdist, "--gpuguard-leaks=error", "--gpuguard-reap", "--gpuguard-settle=0.3s")
    status, output, report = guarded(tmp_path, "incident", *options)
    assert status == 1
    section = output.partition("= gpuguard =")[2]
    assert "thread WritebackWatcher._poll_loop, 14 times" in section
    assert "fixture `chunked_solved_solver` (function)" in section
    assert "examples/incident/conftest.py:" in section
    assert "write `yield` for `return`" in section
    assert "reaped    14 of 14: stopped by WritebackWatcher.shutdown()" in section
    # The innocent: a session fixture with a watcher of its own, alive to the end.
    assert "`unchunked_solved_solver`" not in section
    # The watchers, and the buffers that they hold.
    assert [(group.code, group.totals.tests) for group in report.groups] == [("GPG101", 14), ("GPG201", 14)]
    assert "21 passed, 14 errors" in output


@XDIST
def test_without_reap_the_waiting_tests_are_ended_and_say_who_holds_what(tmp_path, xdist):
    # Six uses of the leaking fixture, of which the host has room for three or four. The limit leaves a busy
    # machine time for an honest set-up in the simulator.
    some = "valid_output or executes_with or follows_its_own or saved_times"
    options = (*xdist, "--gpuguard-settle=0.3s", "--gpuguard-stall-end=4s", "-k", some)
    status, output, report = guarded(tmp_path, "incident", *options)
    assert status == 1
    assert report.verdict.tests_ended >= 2
    assert len(report.tests) == 6
    assert "SmallPinnedHost.reserve" in output
    assert "left behind by earlier tests, still alive and holding what they hold:" in output
    if "2" in xdist:
        own, other = ("gw0", "gw1") if report.stalls[0].worker == "gw0" else ("gw1", "gw0")
        assert f"  {own}  pid " in output
        assert f"  {other}  pid " in output


@XDIST
def test_each_test_that_waits_for_a_dead_watcher_fails_with_its_error(tmp_path, xdist):
    status, output, report = guarded(tmp_path, "incident_dead_watcher", *xdist, "--gpuguard-settle=0.5s")
    assert status == 1
    broken = [death for death in report.deaths if death.interrupted]
    assert len(broken) == 6
    assert all(death.error.startswith("TypeError: Argument 'hEvent'") for death in broken)
    assert output.count("The above exception was the direct cause of the following exception") == 6
    assert report.run.duration_s < 60
    assert sum(test.outcome == "passed" for test in report.tests) == 2


@XDIST
def test_the_mended_suite_is_clean(tmp_path, xdist):
    status, output, report = guarded(tmp_path, "incident_fixed", *xdist, "--gpuguard-leaks=error")
    assert status == 0
    assert "= gpuguard =" not in output
    assert re.search(r"^gpuguard: \d+ threads, \d+ pinned buffers, .*seen in 21 tests", output, re.MULTILINE)
    assert not report.groups
    assert report.probes[0].seen > 10
