"""A test that forks does so in a process with as many threads as there are without the plugin."""

from __future__ import annotations

import sys

import pytest

COUNTED = """
    import os

    DURING = []

    def count():
        DURING.append(len(os.listdir("/proc/self/task")))

    # Before the plugin's own: so this one comes after it.
    os.register_at_fork(before=count)
"""

FORKING = """
    import os

    def fork():
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
"""

FORKS = """
    import os, threading, time

    import pytest
    from counted import DURING, count
    from forking import fork

    def test_forks():
        for _ in range(3):
            deadline = time.monotonic() + 20
            while DURING[-1] == BARE and time.monotonic() < deadline:
                time.sleep(0.001)
                count()
            assert DURING[-1] > BARE
            fork()
            assert DURING[-1] == BARE

    def test_several_fork_at_once():
        threads = [threading.Thread(target=fork) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_a_child_forks_too():
        child = os.fork()
        if not child:
            fork()
            count()
            os._exit(DURING[-1])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    def test_is_watched_after_a_fork():
        fork()
        threading.Event().wait(60)

    # Nothing is watched while tests are collected.
    count()
    BARE = DURING[-1]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the threads of a process")
def test_the_thread_beside_the_tests_is_not_there_while_one_forks(run):
    limits = ("--gpuguard-stall=0.5s", "--gpuguard-stall-end=1s")
    conftest = "import sys, os; sys.path.insert(0, os.path.dirname(__file__)); import counted"
    inner = run.watched(
        *limits, "--gpuguard-leaks=error", conftest=conftest, counted=COUNTED, forking=FORKING, test_it=FORKS
    )
    assert inner.outcomes == {
        "test_forks": "passed",
        "test_several_fork_at_once": "passed",
        "test_a_child_forks_too": "passed",
        "test_is_watched_after_a_fork": "failed",
    }, inner.out + inner.err
    assert inner.leaking == set()
    assert any(stall.ended for stall in inner.report.stalls)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python warns of such forks since 3.12")
def test_python_does_not_warn_of_a_fork_for_our_threads(run_plain):
    # Without the plugin that has a thread of its own.
    inner = run_plain.watched(
        *("-p", "no:rerunfailures", "-W", "always::DeprecationWarning"),
        forking=FORKING,
        test_it="""
            import multiprocessing, threading

            from forking import fork

            def test_forks():
                for _ in range(5):
                    fork()

            def test_forks_by_multiprocessing():
                child = multiprocessing.get_context("fork").Process(target=print)
                child.start()
                child.join()

            def test_forks_beside_a_thread():
                over = threading.Event()
                thread = threading.Thread(target=over.wait)
                thread.start()
                fork()
                over.set()
                thread.join()
        """,
    )
    assert set(inner.outcomes.values()) == {"passed"}
    warned = {line.strip() for line in inner.out.splitlines() if line.startswith("test_it.py::")}
    assert warned == {"test_it.py::test_forks_beside_a_thread"}, inner.out
    # It names the line that forks, not one of ours.
    assert "forking.py:4: DeprecationWarning" in inner.out, inner.out
