"""The end of the process behind the run: who holds it up is named, and the wait has an end."""

from __future__ import annotations

import sys

import pytest

SUITE = """
    import threading
    from concurrent.futures import ThreadPoolExecutor

    KEPT = []

    def wait_for_ever():
        threading.Event().wait()

    def test_leaks():
        threading.Thread(target=wait_for_ever, name="mine").start()

    def test_leaks_what_ends_with_python():
        KEPT.append(ThreadPoolExecutor(1))
        KEPT[0].submit(int).result()
        threading.Thread(target=wait_for_ever, daemon=True).start()
"""


@pytest.mark.parametrize(("leaks", "ret", "verbosity"), [("report", 0, "-q"), ("error", 1, "")])
def test_a_thread_that_python_waits_for_is_named_and_the_wait_ends(run_plain, leaks, ret, verbosity):
    inner = run_plain.watched(
        "--gpuguard-stall-end=2s", f"--gpuguard-leaks={leaks}", *verbosity.split(), test_it=SUITE
    )
    assert inner.ret == ret
    said = " ".join(inner.out.split())
    who = "thread wait_for_ever ('mine', from test_it.py::test_leaks)"
    line = (
        f"gpuguard: Python waits at exit for {who}, since it is no daemon; after 2.0 s the process is ended"
    )
    assert said.count(line) == 1
    assert f"the process is ended, it waited 2.0 s at exit for {who}" in " ".join(inner.err.split())


# xdist ends workers that do not end by themselves: after so long.
SOON = """
    from xdist.workermanage import NodeManager

    NodeManager.EXIT_TIMEOUT = 1
"""


def test_under_workers_nobody_waits(run_two):
    inner = run_two.watched("--gpuguard-stall-end=60s", conftest=SOON, test_it=SUITE)
    assert inner.ret == 0
    assert "Python waits at exit" not in inner.out
    assert inner.leaking == {"test_leaks", "test_leaks_what_ends_with_python"}


def test_what_ends_with_python_or_before_is_not_waited_for(run_plain):
    clean = SUITE.replace(', name="mine"', ", daemon=True")
    inner = run_plain.watched("--gpuguard-stall-end=60s", test_it=clean)
    assert inner.ret == 0
    assert "Python waits at exit" not in inner.out


def test_who_runs_pytest_in_a_process_of_his_own_goes_on_after_it(run_plain):
    script = run_plain.pytester.makepyfile(
        outer="""
        import sys, time
        import pytest
        assert pytest.main(["--gpuguard", "--gpuguard-settle=0.2s", "--gpuguard-stall-end=2s",
                            "-p", "no:xdist", *sys.argv[1:]]) == 0
        time.sleep(4)
        print("went on")
        sys.modules["test_it"].OVER.set()
        """
    )
    run_plain.pytester.makepyfile(
        test_it="""
        import threading
        OVER = threading.Event()
        def test_leaks():
            threading.Thread(target=OVER.wait).start()
        """
    )
    done = run_plain.pytester.run(sys.executable, script, "test_it.py", timeout=60)
    assert "Python waits at exit for thread Event.wait" in done.stdout.str()
    assert "went on" in done.stdout.str()
    assert "the process is ended" not in done.stderr.str()
