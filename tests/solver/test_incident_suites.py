"""The example suites do what their readers are told, under a real pytest without the plugin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.helpers.inner import QUICK
from tests.solver.problems import eventually

ROOT = Path(__file__).parents[2]
# A test that stands still for 3 s shows its stacks and ends the run.
STUCK = ("-o", "faulthandler_timeout=3", "-o", "faulthandler_exit_on_timeout=true")
IN_FOUR_REGIONS = 6
"""Passing tests before the fourth use of the leaking fixture; the session's fixture has one region."""


def start(suite: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", *QUICK, "-p", "no:gpuguard", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, f"examples/{suite}", *options],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(suite: str, *options: str, seconds: float = 90.0) -> tuple[int | None, str]:
    """Return exit code (``None`` when it had to be killed) and output of a pytest run."""
    process = start(suite, *options)
    try:
        output = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        # The group: workers that wait in a loop of their own do not notice that their controller is gone.
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate(timeout=10.0)[0]
    return process.returncode, output


def grows(lines: list[str], seconds: float) -> bool:
    seen = len(lines)
    return eventually(lambda: len(lines) > seen, seconds)


def passed(lines: list[str]) -> int:
    return sum(" PASSED " in line for line in lines)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["serial", "n2"])
def test_the_fixed_suite_passes(workers):
    code, output = run("incident_fixed", *workers)
    assert code == 0, output
    assert "21 passed" in output


def test_the_fourth_use_of_the_leaking_fixture_waits_for_pinned_memory_for_ever():
    code, output = run("incident", "-v", *STUCK)
    assert code not in {0, None}
    assert output.count(" PASSED") == IN_FOUR_REGIONS
    assert output.index("in reserve") < output.index("in chunked_solved_solver")


def test_two_workers_wait_for_each_others_pinned_memory_for_ever():
    process = start("incident", "-v", "-n", "2")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        assert eventually(lambda: passed(lines) > 2, 60.0), lines
        while grows(lines, 4.0):
            pass
        assert process.poll() is None
        assert passed(lines) < 21
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10.0)
        reader.join(10.0)


def test_the_suite_ends_when_each_leaked_watcher_is_stopped_after_its_test():
    code, output = run("incident", "-p", "tests.solver.reaper_plugin")
    assert code == 0, output
    assert "reaped 14" in output
    assert "21 passed" in output


@pytest.mark.parametrize(
    ("test", "where"),
    [
        ("test_solve_gives_finite_states", "in wait_all"),
        ("test_a_solved_solver_has_a_solution", "in solved_solver"),
        ("test_more_chunks_than_buffers_take_turns", "in acquire"),
    ],
)
def test_tests_with_the_dead_watcher_wait_for_ever(test, where):
    code, output = run(f"incident_dead_watcher/test_dead_watcher.py::{test}", *STUCK)
    assert code not in {0, None}
    assert "Timeout (0:00:03)!" in output
    assert where in output


def test_tests_without_the_dead_watcher_pass():
    code, output = run("incident_dead_watcher", "-k", "parameters_differ or three_slopes")
    assert code == 0, output
    assert "2 passed" in output
