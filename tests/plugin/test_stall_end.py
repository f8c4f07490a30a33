"""Tests that cannot be interrupted: their process ends, with stacks; the run goes on or says what is left."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from pytest_gpuguard.hooks.lifeline import TIMER_LATER, WATCHER_LATER
from pytest_gpuguard.track.stall import _AGAIN_AFTER, _ATTEMPTS

HANGS = """
    import ctypes, threading
    import pytest

    def wait_in(libc):
        mutex = ctypes.create_string_buffer(64)
        libc.pthread_mutex_init(mutex, None)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)

    def test_waits_in_c_that_ignores_signals():
        wait_in(ctypes.CDLL(None))

    def test_waits_in_c_with_the_gil():
        wait_in(ctypes.PyDLL(None))

    @pytest.fixture
    def hangs_in_teardown():
        yield
        threading.Event().wait(600)

    def test_hangs_in_its_teardown(hangs_in_teardown): pass

    def test_waits_in_python():
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Event().wait(600)

    @pytest.mark.parametrize("n", range(8))
    def test_free(n): pass
"""


#: The waits of everybody take long.
HASTE = pytest.mark.parametrize(
    "haste", [("-p", "hasty"), pytest.param((), marks=pytest.mark.soak)], ids=["hasty", "real"]
)


@HASTE
def test_workers_end_for_what_cannot_be_interrupted_and_the_run_goes_on(run_two, haste):
    # pytest's own timer fires before ours is due: there is one timer, and it is left to pytest.
    args = ["--gpuguard-stall-end=1s", "--junitxml=junit.xml", "-o", "faulthandler_timeout=0.5"]
    inner = run_two.watched(*haste, *args, test_it=HANGS)
    assert inner.outcomes == {
        "test_waits_in_c_that_ignores_signals": "failed",
        "test_waits_in_c_with_the_gil": "failed",
        "test_hangs_in_its_teardown": "passed, teardown failed",
        "test_waits_in_python": "failed",
    } | {f"test_free[{n}]": "passed" for n in range(8)}
    ended = {stall.nodeid.partition("::")[2]: stall for stall in inner.report.stalls if stall.ended}
    assert {name: stall.how for name, stall in ended.items()} == {
        "test_waits_in_c_that_ignores_signals": (
            "its process was ended, since the wait could not be interrupted"
        ),
        "test_waits_in_c_with_the_gil": (
            "its process was ended from outside, since something in it held the GIL"
        ),
        "test_hangs_in_its_teardown": "its process was ended, since the wait could not be interrupted",
        "test_waits_in_python": "its wait was interrupted",
    }
    assert sorted(worker.end for worker in inner.report.workers).count("killed") == 3
    suite = ET.parse(inner.folder / "junit.xml").getroot()[0]
    failures = {
        case.get("name"): "".join(child.text or "" for child in case if child.tag in {"failure", "error"})
        for case in suite
    }
    for name, stall in ended.items():
        assert name in failures[name], "the stack of the main thread"
        assert "GPG601" in failures[name]
        assert stall.stacks.removeprefix("stacks/") in inner.stacks
    assert "in hangs_in_teardown" in failures["test_hangs_in_its_teardown"]
    assert "stacks of the other threads" in failures["test_waits_in_python"]
    assert "Timeout (0:00:00.5" in inner.out + inner.err


def test_who_ends_a_process_from_outside_leaves_it_time_to_try_by_itself():
    assert _ATTEMPTS * _AGAIN_AFTER < WATCHER_LATER < TIMER_LATER


def test_without_workers_the_run_ends_and_says_what_is_left(run_plain):
    inner = run_plain.watched("-p", "hasty", "--gpuguard-stall-end=1s", test_it=HANGS, conftest=_ORDER)
    assert inner.ret == 1
    assert "gpuguard: the run ends here" in inner.out
    assert "GPG601: test_it.py::test_hangs_in_its_teardown made no progress" in inner.out
    assert "in hangs_in_teardown" in inner.out
    assert re.search(r"gpuguard: 3 tests did not run:\n  test_it.py::test_waits_in_c_that", inner.out)
    report = inner.report
    assert report.run.end == "cut off"
    assert [(stall.ended, stall.phase) for stall in report.stalls] == [(True, "teardown")]
    assert [worker.end for worker in report.workers] == ["killed"]


# Eight free ones, then the one that hangs in its teardown, then the others.
_ORDER = """
    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: ("free" not in item.name, "teardown" not in item.name))
"""


@HASTE
def test_without_workers_a_timer_ends_what_holds_the_gil(run_plain, haste):
    options = (*haste, "--gpuguard-stall-end=1s", "-k", "gil or python")
    inner = run_plain.watched(*options, test_it=HANGS)
    assert inner.ret == 1
    assert "Timeout (" in inner.err
    assert "in test_waits_in_c_with_the_gil" in inner.err


def test_after_a_failed_call_the_timer_still_guards_the_teardown(run_plain):
    # pytest takes the timer away when a call has failed.
    inner = run_plain.watched(
        "-p",
        "hasty",
        "--gpuguard-stall-end=1s",
        test_it="""
            import ctypes
            import pytest

            @pytest.fixture
            def hangs_with_the_gil():
                yield
                libc = ctypes.PyDLL(None)
                mutex = ctypes.create_string_buffer(64)
                libc.pthread_mutex_init(mutex, None)
                libc.pthread_mutex_lock(mutex)
                libc.pthread_mutex_lock(mutex)

            def test_fails(hangs_with_the_gil):
                assert False
        """,
    )
    assert inner.ret == 1
    assert "Timeout (" in inner.err
    assert "in hangs_with_the_gil" in inner.err


def test_what_pytest_timeout_cannot_end_is_ended_here(run_two):
    # Its signal is answered by Python, which the main thread does not come back to.
    args = ("--timeout=0.7", "--timeout-method=signal", "--gpuguard-stall-end=1.5s", "-k", "c_that or free")
    inner = run_two.watched(*args, test_it=HANGS)
    assert inner.outcomes.pop("test_waits_in_c_that_ignores_signals") == "failed"
    assert set(inner.outcomes.values()) == {"passed"}
    (stall,) = [stall for stall in inner.report.stalls if stall.ended]
    assert stall.how == "its process was ended, since the wait could not be interrupted"
    assert "GPG601" in inner.text("test_waits_in_c_that_ignores_signals")


def test_pytest_timeout_ends_a_test_by_its_own_rules(run):
    inner = run.watched("--gpuguard-stall-end=30s", "--timeout=0.7", "-k", "python or free", test_it=HANGS)
    assert inner.outcomes.pop("test_waits_in_python") == "failed"
    assert set(inner.outcomes.values()) == {"passed"}
    assert "GPG6" not in inner.out


def test_the_dossier_has_the_stacks_of_all_and_who_waits_for_whom(run_two, tmp_path):
    inner = run_two.watched(
        "--gpuguard-stall=1s",
        "--gpuguard-stall-end=4s",
        "--gpuguard-budget=pinned=100",
        f"--gpuguard-budget-dir={tmp_path / 'budget'}",
        test_it="""
            import time
            from pathlib import Path
            import pytest

            @pytest.mark.gpu(pinned=60)
            def test_holds():
                Path("held").touch()
                time.sleep(600)

            def test_waits(gpu_lease):
                while not Path("held").exists():
                    time.sleep(0.01)
                with gpu_lease(pinned=60):
                    pass
        """,
    )
    assert inner.outcomes["test_holds"] == "failed"
    assert inner.outcomes["test_waits"] == "passed"
    (stall,) = [stall for stall in inner.report.stalls if stall.ended]
    workers = {state.worker: state for state in stall.states}
    assert set(workers) == {"gw0", "gw1"}
    assert {name.partition("-")[0] for name in inner.stacks} == {"gw0", "gw1"}
    (edge,) = [edge for edge in stall.edges if edge.resource == "pinned"]
    assert edge.waiter.startswith("gw1" if "gw0" in edge.holder else "gw0")
    assert "test_holds" in edge.holder
    assert edge.amount == 60
    assert "which has pinned 60 B" in inner.text("test_holds")
