"""Where locks do not work: one claim at a time, said once, never too much."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_gpuguard import Budget, BudgetDeadlock, BudgetTimeout, BudgetTooLarge
from pytest_gpuguard.ledger import selftest
from tests.processes.children import Child


@pytest.fixture
def without_ranges(monkeypatch):
    """Make range locks as some file systems do: granted, and seen by nobody."""
    monkeypatch.setattr(selftest, "any_locked", lambda *_: False)


@pytest.fixture
def said():
    return []


def budget(root, said=None, limit=8):
    return Budget({"u": limit}, root, say=(said if said is not None else []).append)


@pytest.mark.usefixtures("without_ranges")
def test_it_is_said_once_and_clearly(tmp_path, said):
    mine = budget(tmp_path, said)
    for _ in range(3):
        mine.acquire({"u": 1}).release()
    assert len(said) == 1
    assert said[0].startswith("GPG307")
    assert "one claim at a time" in said[0]
    assert mine.snapshot().exclusive


@pytest.mark.usefixtures("without_ranges")
def test_one_holder_keeps_all_others_out_across_processes(tmp_path):
    def body(say, hear):
        with budget(tmp_path).acquire({"u": 1}):
            say("holds")
            hear()
        say("released")
        hear()

    child = Child(body)
    assert child.hear() == "holds"
    mine = budget(tmp_path)
    with pytest.raises(BudgetTimeout, match="GPG301"):
        mine.acquire({"u": 1}, timeout=0.1)
    child.say()
    assert child.hear() == "released"
    mine.acquire({"u": 1}, timeout=60.0).release()
    child.kill()


@pytest.mark.usefixtures("without_ranges")
def test_who_has_to_wait_is_told_once(tmp_path):
    mine, told = budget(tmp_path), []
    lease = mine.acquire({"u": 1}, on_wait=told.append)
    assert told == []
    threads = ThreadPoolExecutor(1)
    second = threads.submit(lambda: mine.acquire({"u": 1}, timeout=60.0, on_wait=told.append).release())
    while not told:
        time.sleep(0.002)
    lease.release()
    second.result(60)
    assert [snapshot.exclusive for snapshot in told] == [True]


@pytest.mark.usefixtures("without_ranges")
def test_a_killed_holder_frees_it(tmp_path):
    def body(say, hear):
        lease = budget(tmp_path).acquire({"u": 1})
        say("holds")
        hear()
        lease.release()

    child = Child(body)
    assert child.hear() == "holds"
    child.kill()
    budget(tmp_path).acquire({"u": 8}, timeout=60.0).release()


@pytest.mark.usefixtures("without_ranges")
def test_nested_claims_add_up_and_never_exceed_the_limit(tmp_path):
    mine = budget(tmp_path)
    with mine.acquire({"u": 5}) as lease, mine.acquire({"u": 3}):
        assert mine.snapshot().free == {"u": 0}
        assert not lease.try_grow({"u": 6})
        with pytest.raises(BudgetDeadlock, match="GPG302"):
            mine.acquire({"u": 1})
    with pytest.raises(BudgetTooLarge):
        mine.acquire({"u": 9})
    assert mine.snapshot().free == {"u": 8}


@pytest.mark.usefixtures("without_ranges")
def test_threads_wait_for_each_other(tmp_path):
    mine = budget(tmp_path)
    order = []

    def claim():
        with mine.acquire({"u": 1}, timeout=60.0):
            order.append("thread")

    with mine.acquire({"u": 1}):
        thread = threading.Thread(target=claim)
        thread.start()
        time.sleep(0.05)
        order.append("main")
    thread.join(60)
    assert order == ["main", "thread"]


@pytest.mark.usefixtures("without_ranges")
def test_a_forked_child_holds_nothing(tmp_path):
    mine = budget(tmp_path)
    lease = mine.acquire({"u": 8})

    def body(say, hear):
        try:
            mine.acquire({"u": 1}, timeout=0.1)
        except BudgetTimeout:
            say("kept out")
        hear()
        lease.release()
        say("released nothing")
        hear()

    child = Child(body)
    assert child.hear() == "kept out"
    child.say()
    assert child.hear() == "released nothing"
    with pytest.raises(BudgetTimeout):
        budget(tmp_path).acquire({"u": 1}, timeout=0.05)
    child.kill()
    lease.release()
    budget(tmp_path).acquire({"u": 8}, timeout=60.0).release()


def test_a_platform_without_range_locks_falls_back(tmp_path, monkeypatch, said):
    monkeypatch.setattr(sys, "platform", "darwin")
    mine = budget(tmp_path, said)
    with mine.acquire({"u": 3}), pytest.raises(BudgetTimeout):
        other_thread(lambda: budget(tmp_path).acquire({"u": 1}, timeout=0.05))
    assert said[0].startswith("GPG307: darwin has no locks on ranges")
    assert mine.snapshot().free == {"u": 8}


def other_thread(action):
    """Run ``action`` in a thread of its own and raise what it raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result(10)


def test_a_mutex_that_does_not_exclude_is_noticed(tmp_path, monkeypatch, said):
    import filelock

    monkeypatch.setattr(filelock, "lock_descriptor", lambda _fd, blocking=True: True)
    mine = budget(tmp_path, said)
    mine.acquire({"u": 1}).release()
    assert "two descriptors hold the exclusive lock" in said[0]


def test_a_file_system_we_do_not_know_is_said_but_used(tmp_path, monkeypatch, said):
    monkeypatch.setattr(selftest, "filesystem_of", lambda _fd: "bindfs")
    mine = budget(tmp_path, said)
    mine.acquire({"u": 1}).release()
    assert len(said) == 1
    assert "have not tried (bindfs)" in said[0]
    assert not mine.snapshot().exclusive


def test_a_file_system_that_works_is_not_mentioned(tmp_path, said):
    budget(tmp_path, said).acquire({"u": 1}).release()
    assert said == []


def test_the_type_of_a_file_system_is_found_by_its_mount_number(tmp_path):
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "fdinfo/7").write_text("pos:\t0\nflags:\t02\nmnt_id:\t31\n")
    mounts = "30 1 8:1 / / rw - ext4 /dev/a rw\n31 30 0:44 / /tmp rw shared:1 - tmpfs tmpfs rw\n"
    (tmp_path / "mountinfo").write_text(mounts)
    assert selftest.filesystem_of(7, tmp_path) == "tmpfs"
    assert selftest.filesystem_of(8, tmp_path) == ""
