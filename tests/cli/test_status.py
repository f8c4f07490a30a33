"""``gpuguard status``: everybody who holds and waits, and why; once, again and again, and when it cannot."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import msgspec
import pytest
from click.testing import CliRunner

from pytest_gpuguard.budget import Budget
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.state import Claimant, Queued, Resource, State
from pytest_gpuguard.cli.stateview import cut_to, state_lines
from pytest_gpuguard.report.text import Piece, plain
from tests.processes.children import Child, at, freeze

MIB = 1 << 20
LIMITS = {"pinned": 100 * MIB}
LONG = 90.0


def status(root, *options):
    return CliRunner().invoke(main, ["status", "--budget-dir", str(root), *options])


def claimant(root, amount, label):
    """Return a process that claims, says so when it has it, and keeps it."""

    def body(say, hear):
        say("asks")
        lease = Budget(LIMITS, root).acquire({"pinned": amount}, timeout=LONG, label=label)
        say("has")
        hear()
        lease.release()

    child = Child(body)
    assert child.hear() == "asks"
    return child


@pytest.fixture
def busy(tmp_path):
    """A pool with one who holds and two who wait."""
    holder = claimant(tmp_path, 70 * MIB, "gw0 run1 test_first")
    assert holder.hear() == "has"
    children = [holder]
    for number, (amount, label) in enumerate(
        [(40 * MIB, "gw1 run1 test_second"), (20 * MIB, "gw0 run2 test_third")], start=1
    ):
        children.append(claimant(tmp_path, amount, label))
        wait_until(lambda number=number: len(Budget({}, tmp_path).snapshot().waiters) == number)
    yield tmp_path, children
    for child in children:
        child.kill()


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_shows_who_has_what_who_waits_and_why(busy):
    root, children = busy
    result = status(root)
    assert result.exit_code == Exit.FINE
    text = " ".join(result.output.split())
    assert "pool host 3 in it, 1 holding, 2 waiting" in text
    assert "70.0 MiB of 100.0 MiB, 30.0 MiB free" in text
    assert f"pid {children[0].pid}" in text
    assert "gw0 run1 test_first 70.0 MiB pinned" in text
    assert "wants 40.0 MiB pinned 10.0 MiB pinned more must come free" in text
    # It would fit, but the line is a line.
    kept = f"what is free is kept for pid {children[1].pid} gw1 run1 test_second"
    assert f"wants 20.0 MiB pinned {kept}" in text


def test_as_json(busy):
    root, children = busy
    result = status(root, "--json")
    assert result.exit_code == Exit.FINE
    state = msgspec.json.decode(result.stdout, type=State)
    assert (state.schema_version, state.pool, state.participants) == (1, "host", 3)
    assert state.resources == [Resource("pinned", 100 * MIB, 70 * MIB, 30 * MIB)]
    assert [(holder.pid, holder.amounts, holder.state) for holder in state.holders] == [
        (children[0].pid, {"pinned": 70 * MIB}, "running")
    ]
    assert [(waiter.place, waiter.pid, waiter.label) for waiter in state.waiters] == [
        (1, children[1].pid, "gw1 run1 test_second"),
        (2, children[2].pid, "gw0 run2 test_third"),
    ]


def test_it_takes_no_part_and_makes_nothing(tmp_path):
    result = status(tmp_path)
    assert result.exit_code == Exit.NOTHING
    assert f"nobody takes part in pool host in {tmp_path}" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_it_names_the_pools_that_are_in_use(tmp_path):
    with Budget(LIMITS, tmp_path, "other").acquire({"pinned": 1}):
        result = status(tmp_path)
        assert result.exit_code == Exit.NOTHING
        assert "somebody does in: other" in result.stderr
        assert status(tmp_path, "--pool", "other").exit_code == Exit.FINE


def test_the_environment_says_where_as_for_pytest(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUGUARD_BUDGET_DIR", str(tmp_path))
    monkeypatch.setenv("GPUGUARD_POOL", "mine")
    with Budget(LIMITS, tmp_path, "mine").acquire({"pinned": 1}):
        assert CliRunner().invoke(main, ["status"]).exit_code == Exit.FINE


@pytest.mark.parametrize("options", [["--pool", "../x"], ["--interval", "soon"]])
def test_what_cannot_be_is_usage(tmp_path, options):
    assert status(tmp_path, *options).exit_code == Exit.USAGE


def test_a_pool_that_is_not_ours_is_not_read(tmp_path):
    (tmp_path / f"gpuguard-{os.geteuid()}").symlink_to(tmp_path)
    result = status(tmp_path)
    assert result.exit_code == Exit.UNREADABLE
    assert "GPG306" in result.stderr


def test_a_holder_of_the_mutex_that_is_stopped_is_named_and_the_rest_is_shown(tmp_path):
    def body(_say, _hear):
        seam = at("begin: mutex held", freeze, times=2)
        budget = Budget(LIMITS, tmp_path, settings=Settings(seam=seam))
        budget.acquire({"pinned": MIB}, label="held before")
        budget.acquire({"pinned": MIB})

    child = Child(body)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        result = status(tmp_path)
        assert result.exit_code == Exit.BUSY
        assert "held before" in result.output
        assert f"pid {child.pid} (stopped)" in " ".join(result.output.split())
        assert msgspec.json.decode(status(tmp_path, "--json").stdout, type=State).approximate
    finally:
        child.kill()


def watching(root, *options, **streams):
    command = [sys.executable, "-m", "pytest_gpuguard.cli", "status", "--watch", "--interval", "100ms"]
    return subprocess.Popen([*command, "--budget-dir", str(root), *options], **streams)


def test_watching_as_json_writes_a_line_for_each_look_until_interrupted(busy):
    root, _ = busy
    process = watching(root, "--json", stdout=subprocess.PIPE)
    try:
        for _ in range(3):
            assert len(msgspec.json.decode(process.stdout.readline(), type=State).waiters) == 2
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LONG)
        assert process.returncode == Exit.FINE
    finally:
        process.kill()
        process.wait()


def test_watching_on_a_terminal_redraws_in_place_and_gives_the_screen_back(busy):
    root, children = busy
    own, theirs = pty.openpty()
    process = watching(root, stdout=theirs, stdin=theirs, env=os.environ | {"COLUMNS": "80", "LINES": "40"})
    os.close(theirs)
    try:
        seen = read_until(own, b"2 waiting")
        assert b"\x1b[?1049h" in seen
        children[0].kill()
        # Both fit now: the picture changes by itself.
        seen = read_until(own, b"0 waiting")
        assert b"\x1b[H" in seen
        process.send_signal(signal.SIGINT)
        assert b"\x1b[?25h" in read_until(own, b"\x1b[?1049l")
        assert process.wait(LONG) == Exit.FINE
    finally:
        process.kill()
        process.wait()
        os.close(own)


def read_until(fd, text):
    seen = b""
    end = time.monotonic() + LONG
    while text not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(fd, 65536)
    return seen


def somebody(**facts):
    return {
        "slot": 3,
        "pid": 41,
        "label": "gw0 run test",
        "state": "running",
        "kept_by": [],
        "amounts": {"pinned": MIB},
        "seconds": 1.0,
    } | facts


def state(**facts):
    fields = {
        "pool": "host",
        "folder": "/where",
        "participants": 1,
        "resources": [],
        "holders": [],
        "waiters": [],
        "differences": [],
        "approximate": False,
        "notes": [],
    }
    return State(**(fields | facts))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"state": "stopped"}, "stopped: let it go on (kill -CONT 41), or end it"),
        (
            {"state": "dead owner, forked child lives", "kept_by": [7, 9]},
            "dead owner, forked child lives: end it (kill 7 9)",
        ),
        ({"state": "in another PID namespace"}, "in another PID namespace"),
        ({"pid": 0, "label": "", "seconds": None}, "slot 3"),
    ],
)
def test_what_is_unusual_about_somebody_is_said_with_what_to_do(facts, said):
    assert said in plain(state_lines(state(holders=[Claimant(**somebody(**facts))])))


def test_nothing_is_wider_than_the_terminal_and_both_ends_of_a_name_stay():
    name = "gw11 a1b2c3 tests/" + "deep/" * 40 + "test_it.py::test_last[param]"
    reason = "what is free is kept for " + ", ".join(f"pid {pid}" for pid in range(10_000, 10_020))
    shown = state_lines(
        state(
            resources=[
                Resource("gpu.gpu-8f0c1d2e-3a4b-5c6d-7e8f-90a1b2c3d4e5", 80 << 30, 81 << 30, -(1 << 30)),
                Resource("pinned", 0, 0, 0),
            ],
            holders=[Claimant(**somebody(label=name))],
            waiters=[Queued(place=1, reason=reason, **somebody(label=name))],
            differences=["pinned: " + "limits differ " * 12],
        ),
        80,
    )
    lines = plain(shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("gw11 a1b2c3" in line and line.endswith("test_last[param]") for line in lines)
    assert any(line.startswith("gpu.gpu-8f0c...") and "1.00 GiB over" in line for line in lines)


def test_names_cannot_write_to_the_terminal():
    shown = plain(state_lines(state(holders=[Claimant(**somebody(label="gw0 \x1b[31m\rtest"))])))
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_what_is_higher_than_the_terminal_is_cut_and_says_so():
    lines = [[Piece(str(number))] for number in range(10)]
    assert plain(cut_to(lines, 4)).splitlines() == ["0", "1", "2", "... 7 more lines"]
    assert cut_to(lines, 10) == lines
