"""What a scheduler hears beside the ends of tests: tests taken back, workers that go, or differ."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

from pytest_gpuguard import Budget

BOUND = 60
MIB = 1 << 20


def test_what_is_behind_a_test_that_turns_out_long_is_taken_back(run_two):
    # Nothing is known of it: short tests are sent with it. It ends when all of them have run but the one that
    # its worker has in its hand already.
    source = """
        import pathlib, time
        import pytest

        HERE = pathlib.Path(__file__).parent

        @pytest.mark.xdist_group("one")
        def test_grouped(): pass

        @pytest.mark.parametrize("n", range(20))
        def test_it(n):
            (HERE / f"{n}.begun").touch()
            end = time.monotonic() + 60
            while n == 0 and len(list(HERE.glob("*.begun"))) < 19:
                assert time.monotonic() < end, sorted(HERE.glob("*.begun"))
                time.sleep(0.02)
    """
    inner = run_two.watched(test_it=source)
    assert inner.ret == 0, inner.out
    assert len(inner.outcomes) == 21


WAITING = """
    import pytest

    @pytest.mark.gpu(pinned="60 MiB")
    @pytest.mark.parametrize("n", range(3))
    def test_heavy(n): pass

    @pytest.mark.parametrize("n", range(6))
    def test_free(n): pass
"""


def test_a_worker_that_dies_while_it_waits_for_its_lease_is_no_failure_of_the_test(run_two, tmp_path):
    (tmp_path / "budget").mkdir()
    lease = Budget({"pinned": 100 * MIB}, tmp_path / "budget").acquire(
        {"pinned": 100 * MIB}, label="somebody"
    )
    killed = []

    def kill_who_waits():
        end = time.monotonic() + BOUND
        while not (waiters := Budget({}, tmp_path / "budget").snapshot().waiters):
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        else:
            os.kill(waiters[0].person.pid, signal.SIGKILL)
            killed.append(waiters[0].person.pid)
        lease.release()

    killer = threading.Thread(target=kill_who_waits)
    killer.start()
    budget = ("--gpuguard-budget=pinned=100MiB", f"--gpuguard-budget-dir={tmp_path / 'budget'}")
    inner = run_two.watched(*budget, test_it=WAITING)
    killer.join()
    assert killed
    assert inner.ret == 0, inner.out
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == 9
    assert "node down" in inner.out


def test_when_no_more_workers_may_be_replaced_the_run_ends_and_counts_what_ran(run_two):
    run_two.way = ["-n", "1"]
    source = """
        import os
        import pytest

        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("n", range(6))
        def test_it(n):
            if n in (1, 3):
                os._exit(3)
    """
    inner = run_two.watched("--max-worker-restart=1", test_it=source)
    assert inner.ret == 1, inner.out
    assert Counter(inner.outcomes.values())["failed"] == 2, inner.out
    assert inner.outcomes.get("test_it[4]") is None
    assert "maximum crashed workers reached: 1" in inner.out


def test_workers_that_differ_in_needs_are_told(run_two):
    conftest = """
        import os
        import pytest

        def pytest_collection_modifyitems(items):
            amount = "2 MiB" if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" else "1 MiB"
            for item in items:
                if "1" in item.name or amount == "1 MiB":
                    item.add_marker(pytest.mark.gpu(pinned=amount))
    """
    source = "import pytest\n\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n): pass\n"
    inner = run_two.watched(conftest=conftest, test_it=source)
    assert inner.ret == 0, inner.out
    assert len(inner.outcomes) == 6
    assert "workers differ in what their tests need or in their groups" in " ".join(inner.out.split())
    same = run_two.watched(conftest="", test_it=source.replace("@", "@pytest.mark.gpu(pinned='1 MiB')\n@"))
    assert "workers differ" not in same.out
