"""The incident on the driver path: numba-cuda's host code, and pinned memory that is really taken."""

from __future__ import annotations

import re

import msgspec
import pytest

from pytest_gpuguard.report.model import RunReport
from tests.fakecuda.lanes import FakeLane

pytest.importorskip("nvidia", reason="no CUDA compiler (extra 'compile')")

BODIES = ("-p", "tests.fakecuda.bodies")
# Six uses of the leaking fixture, of which the host has room for four.
SOME = ("-k", "valid_output or executes_with or follows_its_own or saved_times")
# Longer than a busy machine takes for an honest set-up whose kernel is compiled.
STUCK = ("-o", "faulthandler_timeout=8", "-o", "faulthandler_exit_on_timeout=true")


COMPILES = """
    from examples.common.lorenz import BACKEND, LORENZ, PARAMS, solve_lorenz
    from solver import BatchSolver
    from tests.fakecuda.bodies import bodies

    with bodies(), BatchSolver(LORENZ, method="rk4", backend=BACKEND) as solver:
        solve_lorenz(solver)
        solver.solve((1.0, 0.0, 0.0), PARAMS, (0.0, 0.5), dt=0.1)
"""


@pytest.fixture(autouse=True, scope="module")
def compiled(fake_libraries, kept_kernels, tmp_path_factory):
    """Have the kernels of these suites compiled, which no limit of time allows for."""
    lane = FakeLane(tmp_path_factory.mktemp("compiled"), fake_libraries, kept_kernels)
    lane.script(COMPILES).check()


def guarded(lane, tmp_path, suite, *options):
    """Run a suite of ``examples`` under the guard in the lane; return output and record."""
    report = f"--gpuguard-report={tmp_path / 'report'}"
    budget = f"--gpuguard-budget-dir={tmp_path}"
    result = lane.pytest(
        f"examples/{suite}", *BODIES, "--gpuguard", "--gpuguard-settle=0.3s", report, budget, *options
    )
    record = msgspec.json.decode((tmp_path / "report" / "report.json").read_bytes(), type=RunReport)
    return result, record


def test_bare_it_hangs_and_the_pinned_memory_stays(fake_lane):
    result = fake_lane.pytest("examples/incident", *BODIES, "-p", "no:gpuguard", "-v", *SOME, *STUCK)
    assert result.returncode != 0
    assert result.stdout.count(" PASSED") == 4
    told = result.stdout + result.stderr
    assert told.index("in reserve") < told.index("in chunked_solved_solver")
    (left,) = fake_lane.controls()
    # Four solvers, with two staging buffers of each input and three of each output.
    assert left.counter("pinned").live == 4 * (2 * 2 + 3 * 4)
    assert left.hanging == 0


@pytest.mark.parametrize("xdist", [("-n", "2"), ("-p", "no:xdist")], ids=["two workers", "no xdist"])
def test_guarded_it_ends_and_the_leak_is_named(fake_lane, tmp_path, xdist):
    options = (*xdist, *SOME, "--gpuguard-leaks=error", "--gpuguard-reap")
    result, report = guarded(fake_lane, tmp_path, "incident", *options)
    assert result.returncode == 1, result.stdout + result.stderr
    section = result.stdout.partition("= gpuguard =")[2]
    assert "thread WritebackWatcher._poll_loop, 6 times" in section
    assert "fixture `chunked_solved_solver` (function)" in section
    assert "write `yield` for `return`" in section
    assert "`unchunked_solved_solver`" not in section
    assert (result.outcomes["passed"], result.outcomes["errors"]) == (6, 6)
    first, *rest = report.groups
    assert (first.kind, first.totals.tests, first.totals.reaped) == ("thread", 6, 6)
    # The thread is the root: stopped, it lets go of the solver's buffers, streams and events.
    assert {group.kind for group in rest} == {"pinned", "stream", "event"}
    for group in rest:
        assert group.totals.reaped == group.totals.occurrences
    (pinned,) = (group for group in rest if group.kind == "pinned")
    buffers = 2 * 2 + 3 * 4  # two staging buffers of each input, three of each output
    assert pinned.totals.occurrences == 6 * buffers
    # Nothing is freed twice.
    assert "cuMemFreeHost" not in result.stdout
    for control in fake_lane.controls():
        assert not [call for call in control.calls() if "Free" in call.name and call.result]
        assert not [call for call in control.calls() if "Destroy" in call.name and call.result]
        assert control.counter("pinned").live == 0


def test_without_reap_the_test_that_waits_is_ended_and_says_who_holds_what(fake_lane, tmp_path):
    options = ("-p", "no:xdist", "--gpuguard-stall-end=4s", *SOME)
    result, report = guarded(fake_lane, tmp_path, "incident", *options)
    assert result.returncode == 1, result.stdout + result.stderr
    assert report.verdict.tests_ended >= 2
    assert "SmallPinnedHost.reserve" in result.stdout
    assert "left behind by earlier tests, still alive and holding what they hold:" in result.stdout


def test_who_waits_for_a_watcher_that_died_fails_with_its_error(fake_lane, tmp_path):
    result, report = guarded(fake_lane, tmp_path, "incident_dead_watcher", "-n", "2")
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [death for death in report.deaths if death.interrupted]
    assert len(broken) == 6
    assert all(death.error.startswith("TypeError: Argument 'hEvent'") for death in broken)
    assert re.search(r"2 passed|passed=2", result.stdout)


def test_mended_it_is_clean(fake_lane, tmp_path):
    result, report = guarded(
        fake_lane, tmp_path, "incident_fixed", "-n", "2", *SOME, "--gpuguard-leaks=error"
    )
    result.check()
    assert "= gpuguard =" not in result.stdout
    assert not report.groups
