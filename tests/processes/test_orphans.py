"""Workers whose controller is killed: what they hold stays held as long as they live, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from pytest_gpuguard import Budget

MIB = 1 << 20
LONG = 120.0

SUITE = """
    import os, signal, time
    from pathlib import Path
    import pytest

    @pytest.mark.gpu(pinned="40 MiB")
    @pytest.mark.parametrize("n", range(4))
    def test_holds(n, worker_id):
        Path(f"{worker_id}.new").write_text(str(os.getpid()))
        Path(f"{worker_id}.new").rename(f"{worker_id}.pid")
        # As in a driver's call, deaf to whoever tells it to end.
        for _ in range(2400):
            try:
                if Path("over").exists():
                    break
                time.sleep(0.05)
            except KeyboardInterrupt:
                pass
"""


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_orphans_keep_what_they_hold_until_they_end(pytester, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("GPUGUARD", "PYTEST_"))]:
        monkeypatch.delenv(name)
    pytester.makepyfile(test_it=SUITE)
    budgets = tmp_path / "budgets"
    budgets.mkdir()
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "--gpuguard"]
    options = [
        "--gpuguard-budget=pinned=100MiB",
        f"--gpuguard-budget-dir={budgets}",
        "--gpuguard-stall-end=0",
    ]
    controller = subprocess.Popen([*command, *options], cwd=pytester.path, stdout=subprocess.DEVNULL)
    pids = []
    try:
        wait_until(lambda: len(list(pytester.path.glob("*.pid"))) == 2)
        pids = [int(path.read_text()) for path in sorted(pytester.path.glob("*.pid"))]
        controller.send_signal(signal.SIGKILL)
        controller.wait(LONG)
        mine = Budget({"pinned": 100 * MIB}, budgets)
        held = {holder.person.pid: holder.amounts["pinned"] for holder in mine.snapshot().holders}
        # Whoever lives on holds on: its memory is still there.
        assert {pid: held.get(pid) for pid in pids if alive(pid)} == dict.fromkeys(
            filter(alive, pids), 40 * MIB
        )
        os.kill(pids[0], signal.SIGKILL)
        with mine.acquire({"pinned": 60 * MIB}, timeout=LONG):
            (pytester.path / "over").touch()
        with mine.acquire({"pinned": 100 * MIB}, timeout=LONG):
            assert mine.late == 0
    finally:
        (pytester.path / "over").touch()
        controller.kill()
        controller.wait()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "XZ"
    except FileNotFoundError:
        return False
