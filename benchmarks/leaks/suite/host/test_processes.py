"""Child processes that tests leave, or seem to leave."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from benchmarks.leaks.planting import clean, keep, planted

FORK = multiprocessing.get_context("fork")
SPAWN = multiprocessing.get_context("spawn")


def started():
    child = subprocess.Popen(["sleep", "1000"])
    return keep(child, lambda: (child.kill(), child.wait()))


@planted("process")
def test_running_child():
    started()


@planted("process")
def test_child_that_nobody_waits_for():
    child = subprocess.Popen(["true"])
    keep(child, child.wait)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


@planted("process")
def test_child_started_by_a_thread():
    thread = threading.Thread(target=started)
    thread.start()
    thread.join()


@planted("process", also=("fd",))
def test_forked_worker():
    process = FORK.Process(target=time.sleep, args=(1000,), daemon=True)
    process.start()
    keep(process, process.kill)


@planted("process", also=("thread", "fd"))
def test_process_pool_left_open():
    pool = ProcessPoolExecutor(1, mp_context=FORK)
    assert pool.submit(int).result() == 0
    keep(pool, pool.shutdown)


@planted("process", also=("fd",))
def test_child_with_a_pipe():
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    keep(child, lambda: (child.kill(), child.communicate()))


@pytest.fixture
def returns_a_child():
    return started()


@planted("process", owner="returns_a_child")
def test_child_of_a_fixture(returns_a_child):
    assert returns_a_child.poll() is None


@planted("process")
def test_raw_fork():
    child = os.fork()
    if not child:
        time.sleep(1000)
        os._exit(0)
    keep(child, lambda: (os.kill(child, 9), os.waitpid(child, 0)))


def test_bystander():
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@clean
def test_child_that_is_waited_for():
    assert subprocess.run(["true"], check=False).returncode == 0


@clean
def test_child_that_is_killed():
    child = subprocess.Popen(["sleep", "1000"])
    child.kill()
    child.wait()


@clean
def test_child_that_ends_soon():
    child = subprocess.Popen(["sleep", "0.2"])
    threading.Thread(target=child.wait, daemon=True).start()


@clean
def test_forked_worker_that_is_joined():
    process = FORK.Process(target=int)
    process.start()
    process.join()
    process.close()


@clean
def test_spawned_worker_that_is_joined():
    process = SPAWN.Process(target=int)
    process.start()
    process.join()
    process.close()


@clean
def test_process_pool_in_a_with_block():
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        assert pool.submit(int).result() == 0


@clean
def test_pool_of_multiprocessing():
    with FORK.Pool(1) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
        pool.close()
        pool.join()


@clean
def test_child_of_a_thread_that_is_waited_for():
    thread = threading.Thread(target=subprocess.run, args=([sys.executable, "-c", ""],))
    thread.start()
    thread.join()
