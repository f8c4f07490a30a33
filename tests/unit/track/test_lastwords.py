"""The timer that ends a process: it goes on through forks, and no forked child waits for it."""

from __future__ import annotations

import faulthandler
import io
import subprocess
import sys

import pytest

from pytest_gpuguard.track.lastwords import Timer

FORKS = """
import faulthandler, os, signal, sys, time
from pytest_gpuguard.track.lastwords import Timer

timer = Timer(open(sys.argv[1], "wb", buffering=0))
now = time.monotonic()
timer.keep(now, now + 600)

def forked(act):
    child = os.fork()
    if child == 0:
        act()
        sys.exit(7)  # the interpreter's own end cancels the timer as well
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (ended := os.waitpid(child, os.WNOHANG)) != (0, 0):
            return os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return "hung"

def forks_again():
    timer.keep(time.monotonic(), time.monotonic() + 0.1)  # nobody arms it in a child
    sys.exit(forked(int))

print(forked(int), forked(faulthandler.cancel_dump_traceback_later), forked(forks_again), flush=True)
timer.lost()
timer.keep(time.monotonic(), time.monotonic() + 0.5)
print(forked(int), flush=True)
time.sleep(60)
print("not ended")
"""


def test_it_is_let_go_around_forks_and_armed_again(tmp_path):
    stacks = tmp_path / "stacks"
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(stacks)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "7 7 7\n7\n", done.stderr
    assert done.returncode == 1
    assert "Timeout" in stacks.read_text()


def test_it_is_armed_anew_as_seldom_as_it_may_be_late_and_never_comes_early(monkeypatch):
    armed = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **_: armed.append(seconds))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: None)
    timer = Timer(io.BytesIO())
    latest = []
    for now in range(21):
        before = len(armed)
        timer.keep(now, now + 600.0)
        if len(armed) > before:
            latest.append(now + armed[-1])
        assert now + 600.0 <= latest[-1] <= now + 605.0
    assert len(armed) == 4
    timer.cancel()
    timer.keep(30.0, 32.0)
    assert armed[-1] == pytest.approx(2.2)
