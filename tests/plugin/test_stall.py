"""Tests without progress: what is written about them, and how they end."""

from __future__ import annotations

import re

ENDED = """
    import threading, time
    import pytest
    from watcher import Watcher

    @pytest.fixture
    def waits():
        threading.Event().wait(60)

    @pytest.fixture
    def slow_steps(request):
        for number in range(6):
            request.getfixturevalue(f"step{number}")

    def step():
        time.sleep(0.35)

    step0, step1, step2, step3, step4, step5 = (pytest.fixture(step, name=f"step{n}") for n in range(6))

    @pytest.fixture
    def slow_teardown():
        yield
        time.sleep(2.0)

    def test_leaks():
        Watcher().start()

    def helper_that_waits():
        threading.Event().wait(60)

    def test_in_its_call():
        helper_that_waits()

    def test_in_its_setup(waits): pass

    def test_swallows():
        try:
            time.sleep(60)
        except BaseException:
            pass
        time.sleep(60)

    def test_slow_but_in_progress(slow_steps): pass

    def test_teardown_is_never_cut_short(slow_teardown): pass

    def test_next(): pass
"""


def test_a_test_without_progress_is_ended_with_a_dossier(run):
    inner = run.watched("--gpuguard-stall=0.7s", "--gpuguard-stall-end=1.2s", "--reruns=0", test_it=ENDED)
    assert inner.outcomes == {
        "test_leaks": "passed",
        "test_in_its_call": "failed",
        "test_in_its_setup": "setup failed",
        "test_swallows": "failed",
        "test_slow_but_in_progress": "passed",
        "test_teardown_is_never_cut_short": "passed",
        "test_next": "passed",
    }
    said = inner.text("test_in_its_call")
    assert re.search(r"GPG601: test_it.py::test_in_its_call made no progress for 1\.\d s in its call", said)
    assert "and was ended" in said
    assert re.search(r"  for 1\.\d s in test_it.py:28 helper_that_waits", said)
    stalls = {}
    for stall in inner.report.stalls:
        stalls.setdefault(stall.nodeid.partition("::")[2], []).append((stall.phase, stall.ended))
    # More may be told on a machine where all takes long.
    assert (
        stalls.items()
        >= {
            "test_in_its_call": [("call", False), ("call", True)],
            "test_in_its_setup": [("setup", False), ("setup", True)],
            "test_swallows": [("call", False), ("call", True)],
            "test_teardown_is_never_cut_short": [("teardown", False)],
        }.items()
    )
    assert inner.report.verdict.tests_ended == 3
    stacks = "\n".join(inner.stacks.values())
    assert "helper_that_waits" in stacks
    assert "in _loop" in stacks
    assert {stall.stacks for stall in inner.report.stalls} <= {f"stacks/{name}" for name in inner.stacks}
    section = "\n".join(inner.section)
    assert "ENDED  test_in_its_call " in section
    assert [line for line in inner.section if len(line) > 80] == []


def test_what_earlier_tests_left_is_named(run_plain):
    inner = run_plain.watched(
        "--gpuguard-stall=0.3s",
        "--gpuguard-stall-end=0.5s",
        test_it="""
            import asyncio, threading
            import pytest
            from watcher import Watcher

            @pytest.fixture
            def leaky():
                return Watcher().start()

            KEPT = []

            def test_keeps_a_library_s_thread():
                loop = asyncio.new_event_loop()
                KEPT.append(loop)
                loop.run_until_complete(loop.run_in_executor(None, int))

            @pytest.mark.parametrize("n", range(6))
            def test_leaks(leaky, n): pass

            def test_waits():
                threading.Event().wait(60)
        """,
    )
    said = inner.text("test_waits")
    assert "left behind by earlier tests, still alive and holding what they hold: 6" in said
    assert "thread Watcher._loop, by fixture `leaky` of test_leaks[0], " in said
    assert "and 2 more" in said
    assert "concurrent" not in said.partition("stacks of the other threads")[0]


def test_a_stall_is_only_reported_when_nothing_is_to_be_ended(run):
    inner = run.watched(
        "--gpuguard-stall=0.3s",
        "--gpuguard-stall-end=0",
        test_it="""
            import time
            def test_waits():
                time.sleep(1.0)
        """,
    )
    assert inner.outcomes == {"test_waits": "passed"}
    assert [(stall.ended, stall.phase) for stall in inner.report.stalls] == [(False, "call")]
    assert inner.ret == 0
    assert any(line.startswith("SLOW   test_waits ") for line in inner.section)


def test_no_limit_at_all_is_silent(run_plain):
    inner = run_plain.watched(
        "--gpuguard-stall=0",
        "--gpuguard-stall-end=0",
        test_it="""
            import time
            def test_waits():
                time.sleep(0.5)
        """,
    )
    assert inner.outcomes == {"test_waits": "passed"}
    assert inner.report.stalls == []
    assert "no wait could be ended" not in inner.out


def test_a_wait_in_c_that_ignores_signals_is_one_stall_and_fails_nobody_afterwards(run_plain):
    """A mutex of C: the interrupt arrives when the wait is over."""
    inner = run_plain.watched(
        "--gpuguard-stall-end=0.3s",
        test_it="""
            import ctypes, threading, time

            def test_waits_in_c():
                libc = ctypes.CDLL(None)
                mutex = ctypes.create_string_buffer(64)
                assert libc.pthread_mutex_init(mutex, None) == 0
                assert libc.pthread_mutex_lock(mutex) == 0
                threading.Timer(2.0, lambda: libc.pthread_mutex_unlock(mutex)).start()
                libc.pthread_mutex_lock(mutex)

            def test_next(): pass
        """,
    )
    assert inner.outcomes["test_next"] == "passed"
    assert len(inner.report.stalls) == 1
    assert "".join(inner.stacks.values()).count("Stall(test=") == 1


def test_workers_that_wait_for_each_other_name_each_other(run_two):
    inner = run_two.watched(
        "--gpuguard-stall=1s",
        "--gpuguard-stall-end=3s",
        test_it="""
            import os, time
            from pathlib import Path
            import pytest
            from watcher import Watcher

            def wait_for(name):
                end = time.monotonic() + 20
                # One line, and no frame below: wherever it is when somebody looks.
                while not os.access(name, os.F_OK) and time.monotonic() < end: time.sleep(0.02)

            @pytest.fixture
            def met(me, other):
                Path(me).touch()
                wait_for(other)
                if me == "b":
                    time.sleep(1.5)  # so that "a" is ended first, while "b" waits

            @pytest.mark.parametrize("me, other", [("a", "b"), ("b", "a")])
            def test_waits(met, me, other):
                Watcher().start()
                if me == "a":
                    time.sleep(60)
                else:
                    wait_for("never")
        """,
    )
    said = inner.text("test_waits[a-b]") + inner.text("test_waits[b-a]")
    assert set(inner.outcomes.values()) == {"failed"}
    assert re.search(r"gw0  pid \d+  test_it.py::test_waits", said)
    assert re.search(r"gw1  pid \d+  test_it.py::test_waits", said)
    first = inner.text("test_waits[a-b]")
    assert "test_waits[b-a]" in first
    assert "test_it.py:9 wait_for" in first
    assert len(inner.stacks) == 2


def test_losing_the_folder_costs_the_words_and_not_the_limit(run_plain):
    inner = run_plain.watched(
        "--gpuguard-stall-end=0.5s",
        test_it="""
            import shutil, time
            def test_waits():
                shutil.rmtree(".pytest_cache")
                time.sleep(30)
            def test_next(): pass
        """,
    )
    assert inner.outcomes == {"test_waits": "failed", "test_next": "passed"}
    assert "the record could not be written" in inner.out
    assert "INTERNALERROR" not in inner.out + inner.err


def test_no_signal_left_is_said(run_plain):
    inner = run_plain.watched(
        conftest="""
            import signal
            for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
                signal.signal(number, lambda *_: None)
        """,
        test_it="def test_it(): pass",
    )
    assert inner.ret == 0
    assert "gpuguard: no wait could be ended: every real-time signal is taken" in inner.out
