"""What the host may do to a budget: namespaces, full disks, deleted folders, stopped and forked processes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from pytest_gpuguard.budget import Budget, BudgetTimeout, BudgetTooLarge, set_limits
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.ledger.errors import LedgerLost
from pytest_gpuguard.ledger.layout import MUTEX
from pytest_gpuguard.ledger.mutex import Mutex
from tests.processes.children import Child

# With a safety poll this slow, whoever is granted in time was woken.
SLOW_POLL = 600.0
LONG = 90.0


def budget(root, limit=8, pool="host", **settings):
    return Budget({"u": limit}, root, pool, label="test", settings=Settings(safety=SLOW_POLL, **settings))


def holder(root, amount=8):
    """Return a child that holds ``amount`` until it is killed."""

    def body(say, hear):
        lease = budget(root).acquire({"u": amount}, timeout=LONG, label="holder")
        say("holds")
        hear()
        lease.release()
        say("released")
        hear()

    child = Child(body)
    assert child.hear() == "holds"
    return child


def waiter(root, amount, **settings):
    """Return a child that stands in line, says when it was granted, and holds on."""

    def body(say, hear):
        with budget(root, **settings) as mine:
            say("started")
            with mine.acquire({"u": amount}, timeout=LONG, label=f"waiter for {amount}"):
                say(f"granted late={mine.late}")
                hear()
        say("released")

    child = Child(body)
    assert child.hear() == "started"
    return child


def wait_for_line(mine, count):
    deadline = time.monotonic() + LONG
    while len(mine.snapshot().waiters) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def stop_between_decisions(child, root):
    """Stop a child while it is not in the mutex, where everybody would be stopped with it."""
    (path,) = root.glob(f"*/*/*/{MUTEX}")
    with path.open("rb+") as file, Mutex(file.fileno, path, timeout=LONG).hold():
        child.stop()


def test_a_killed_holder_frees_its_bytes_and_the_waiter_is_woken(tmp_path):
    mine = budget(tmp_path)
    first, second = holder(tmp_path), waiter(tmp_path, 8)
    wait_for_line(mine, 1)
    first.kill()
    assert second.hear() == "granted late=0"
    second.kill()


def test_a_release_wakes_the_waiter(tmp_path):
    mine = budget(tmp_path)
    first, second = holder(tmp_path), waiter(tmp_path, 8)
    wait_for_line(mine, 1)
    first.say()
    assert second.hear() == "granted late=0"
    first.kill()
    second.kill()


def test_a_holder_killed_in_another_pid_namespace_frees_its_bytes(tmp_path):
    code = (
        "import sys, time\n"
        "from pytest_gpuguard.budget import Budget\n"
        "lease = Budget({'u': 8}, sys.argv[1], label='inside').acquire({'u': 8})\n"
        "print('holds', flush=True)\n"
        "time.sleep(600)\n"
    )
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    probe = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no PID namespaces here: {probe.stderr.strip()}")
    command = [*unshare, sys.executable, "-c", code, str(tmp_path)]
    inside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert inside.stdout.readline() == "holds\n"
        mine = budget(tmp_path)
        with pytest.raises(BudgetTimeout, match="in another PID namespace"):
            mine.acquire({"u": 1}, timeout=0.05)
        second = waiter(tmp_path, 8)
        wait_for_line(mine, 1)
        # --kill-child: the namespace's first process is killed with its parent.
        inside.kill()
        assert second.hear() == "granted late=0"
        second.kill()
    finally:
        inside.kill()
        inside.wait()
        inside.stdout.close()


def test_a_stopped_head_of_the_line_is_passed_over_and_served_when_it_goes_on(tmp_path):
    mine = budget(tmp_path, grace=0.2)
    lease = mine.acquire({"u": 8})
    head = waiter(tmp_path, 6)
    wait_for_line(mine, 1)
    stop_between_decisions(head, tmp_path)
    # It looks when it is rung; the stall it sees then ends by its own clock.
    second = waiter(tmp_path, 4, grace=0.2)
    wait_for_line(mine, 2)
    lease.release()
    set_limits({}, tmp_path)  # rings everybody, as the safety poll would do in time
    assert second.hear() == "granted late=0"
    assert [entry.person.state for entry in mine.snapshot().waiters] == ["stopped"]
    second.say()
    assert second.hear() == "released"
    head.go_on()
    assert head.hear() == "granted late=0"
    head.kill()
    second.kill()


@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_forked_child_of_a_killed_owner(tmp_path, fork):
    """A Python fork frees at once; a C-level one keeps the bytes until it ends, and is reported."""

    def body(say, hear):
        lease = budget(tmp_path).acquire({"u": 8}, label="owner")
        pid = os.fork() if fork == "python" else ctypes.CDLL(None).fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        say(str(pid))
        hear()
        lease.release()

    owner = Child(body)
    copy = int(owner.hear())
    mine = budget(tmp_path)
    try:
        owner.kill()
        if fork == "python":
            mine.acquire({"u": 8}, timeout=LONG).release()
        else:
            with pytest.raises(BudgetTimeout, match=rf"dead owner, forked child lives: pid {copy}\n"):
                mine.acquire({"u": 8}, timeout=0.1)
    finally:
        os.kill(copy, 9)
    mine.acquire({"u": 8}, timeout=LONG).release()


def test_an_executed_child_keeps_nothing(tmp_path):
    def body(say, hear):
        lease = budget(tmp_path).acquire({"u": 8})
        say(str(subprocess.Popen(["sleep", "600"]).pid))
        hear()
        lease.release()

    owner = Child(body)
    executed = int(owner.hear())
    try:
        owner.kill()
        budget(tmp_path).acquire({"u": 8}, timeout=LONG).release()
        os.kill(executed, 0)
    finally:
        os.kill(executed, 9)


def test_a_forked_child_claims_for_itself(tmp_path):
    mine = budget(tmp_path)
    lease = mine.acquire({"u": 5})

    def body(say, hear):
        lease.release()  # the parent's, worth nothing here
        with mine.acquire({"u": 3}, timeout=LONG):
            say("holds")
            hear()

    child = Child(body)
    assert child.hear() == "holds"
    assert mine.snapshot().free == {"u": 0}
    assert [holder.amounts["u"] for holder in mine.snapshot().holders] == [5, 3]
    child.kill()
    assert mine.snapshot().free == {"u": 3}


@pytest.fixture
def small_disk(tmp_path):
    """Make a file system of 64 KiB."""
    folder = tmp_path / "mount"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(path):
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_takes_nothing_but_names(small_disk):
    first, second = budget(small_disk), budget(small_disk)
    lease = first.acquire({"u": 8}, label="known")
    fill_up(small_disk / "fill")
    with pytest.raises(BudgetTimeout):
        second.acquire({"u": 1}, timeout=0.05)
    threading.Timer(0.05, lease.release).start()
    second.acquire({"u": 8}, timeout=LONG).release()
    with budget(small_disk).acquire({"u": 8}, timeout=LONG):
        assert [holder.amounts for holder in first.snapshot().holders] == [{"u": 8}]


def test_a_disk_that_cannot_be_written_to_is_an_error_not_another_budget(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        budget(small_disk).acquire({"u": 1})


@pytest.mark.parametrize("what", ["all", "ledger", "mutex", "r.u"])
def test_files_deleted_under_a_run_stop_granting(tmp_path, what):
    mine, other = budget(tmp_path), budget(tmp_path)
    lease = mine.acquire({"u": 5})
    folder = mine.snapshot().directory
    if what == "all":
        shutil.rmtree(folder)
    else:
        (folder / what).unlink()
    with pytest.raises(LedgerLost, match="GPG305"):
        mine.acquire({"u": 1})
    if what != "all":
        with pytest.raises(LedgerLost, match=f"GPG305.*{what}"):
            other.acquire({"u": 5})
    lease.release()


def test_a_deleted_file_is_noticed_by_those_who_wait(tmp_path):
    mine = budget(tmp_path)
    with mine.acquire({"u": 8}):
        failures = []

        def wait():
            try:
                budget(tmp_path).acquire({"u": 1}, timeout=LONG)
            except LedgerLost as error:
                failures.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        wait_for_line(mine, 1)
        (mine.snapshot().directory / "mutex").unlink()
    thread.join(LONG)
    assert len(failures) == 1


def test_two_pools_share_nothing(tmp_path):
    with budget(tmp_path, pool="one").acquire({"u": 8}), budget(tmp_path, pool="two").acquire({"u": 8}):
        pass


def test_threads_claim_for_themselves(tmp_path):
    """Two threads of one process that wait are no circle: each has a seat of its own."""
    mine = budget(tmp_path)
    granted = []

    def claim(amount):
        with mine.acquire({"u": amount}, timeout=LONG):
            granted.append(amount)

    with mine.acquire({"u": 8}):
        threads = [threading.Thread(target=claim, args=(amount,)) for amount in (5, 6)]
        for thread in threads:
            thread.start()
        wait_for_line(mine, 2)
        assert mine.snapshot().participants == 3
    for thread in threads:
        thread.join(LONG)
    assert sorted(granted) == [5, 6]
    # Seats of threads that ended are taken by the next ones.
    last = threading.Thread(target=claim, args=(1,))
    last.start()
    last.join(LONG)
    assert mine.snapshot().participants == 3


def test_a_lowered_limit_fails_waiters_that_no_longer_fit(tmp_path):
    mine = budget(tmp_path)
    refused = []

    def wait():
        try:
            budget(tmp_path).acquire({"u": 6}, timeout=LONG)
        except BudgetTooLarge as error:
            refused.append(str(error))

    with mine.acquire({"u": 4}):
        thread = threading.Thread(target=wait)
        thread.start()
        wait_for_line(mine, 1)
        set_limits({"u": 5}, tmp_path)
        thread.join(LONG)
        assert "GPG303" in refused[0]
        assert "limits.json" in refused[0]
        assert mine.snapshot().free == {"u": 1}


def test_a_raised_limit_wakes_whoever_waits(tmp_path):
    mine = budget(tmp_path)
    set_limits({"u": 4}, tmp_path)
    with mine.acquire({"u": 4}):
        second = waiter(tmp_path, 2)
        wait_for_line(mine, 1)
        set_limits({}, tmp_path)
        assert second.hear() == "granted late=0"
        second.kill()


def test_the_end_of_whoever_had_the_lowest_limit_wakes_whoever_waits(tmp_path):
    def low(say, hear):
        with budget(tmp_path, limit=4).acquire({"u": 1}):
            pass
        say("joined")
        hear()

    child = Child(low)
    assert child.hear() == "joined"
    mine = budget(tmp_path)
    with mine.acquire({"u": 4}):
        second = waiter(tmp_path, 2)
        wait_for_line(mine, 1)
        child.kill()
        assert second.hear() == "granted late=0"
        second.kill()
