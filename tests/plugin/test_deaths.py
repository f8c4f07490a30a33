"""Threads that die while a test waits for them: the wait is broken, and nobody else is touched."""

from __future__ import annotations

import re

WAITS = """
    import _thread, asyncio, ctypes, os, queue, select, socket, subprocess, threading, time
    import pytest

    def dies(after=0.0):
        def work():
            time.sleep(after)
            raise OSError("planted")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def poll_loop():
        done = []
        while not done:
            try:
                time.sleep(0.01)
                if done:
                    raise ValueError
            except Exception:
                pass

    def busy_loop():
        done = []
        while not done:
            pass

    def condition():
        with (ready := threading.Condition()):
            ready.wait()

    def lock():
        (taken := threading.Lock()).acquire()
        taken.acquire()

    def join_of_another():
        threading.Thread(target=threading.Event().wait, args=(30,), daemon=True).start()
        threading.enumerate()[-1].join()

    def select_for_ever():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            select.select([ours], [], [])

    def child_without_end():
        with subprocess.Popen(["sleep", "60"]) as child:
            try:
                os.waitpid(child.pid, 0)
            finally:
                child.kill()

    def swallows_once():
        try:
            threading.Event().wait(30)
        except BaseException:
            pass
        threading.Event().wait(30)

    async def forever():
        while True:
            await asyncio.sleep(0.02)

    WAITS = {
        "poll_loop": poll_loop,
        "busy_loop": busy_loop,
        "sleep": lambda: time.sleep(60),
        "lock": lock,
        "condition": condition,
        "queue": lambda: queue.Queue().get(),
        "event": lambda: threading.Event().wait(),
        "join": join_of_another,
        "select": select_for_ever,
        "poll": lambda: select.poll().poll(),
        "barrier": lambda: threading.Barrier(2).wait(),
        "child": child_without_end,
        "sleep_in_c": lambda: ctypes.CDLL(None).sleep(60),
        "swallows_once": swallows_once,
        "asyncio": lambda: asyncio.run(forever()),
        "asyncio_one_sleep": lambda: asyncio.run(asyncio.sleep(60)),
    }

    @pytest.mark.parametrize("wait", WAITS)
    def test_waits(wait):
        dies()
        WAITS[wait]()

    @pytest.mark.parametrize("wait", WAITS)
    def test_next(wait):
        # Longer than a settle: the next test is not the one that waits for the dead thread.
        if wait == "event":
            time.sleep(0.5)

    @pytest.fixture
    def waits_in_setup():
        dies()
        threading.Event().wait(30)

    def test_function_setup(waits_in_setup): pass

    @pytest.fixture(scope="module")
    def module_waits_in_setup():
        dies()
        threading.Event().wait(30)

    def test_module_setup(module_waits_in_setup): pass
    def test_module_setup_again(module_waits_in_setup): pass

    @pytest.fixture(scope="module")
    def worker():
        go = threading.Event()
        def work():
            go.wait(30)
            raise OSError("planted in the module's thread")
        threading.Thread(target=work, daemon=True).start()
        return go

    def test_of_the_module(worker):
        worker.set()
        threading.Event().wait(30)

    @pytest.mark.timeout(20, method="signal")
    def test_under_a_timeout_by_signal():
        dies()
        threading.Event().wait(30)

    @pytest.mark.timeout(20, method="thread")
    def test_under_a_timeout_by_thread():
        dies()
        threading.Event().wait(30)

    def raw_death():
        raise OSError("planted")

    def test_raw_thread():
        _thread.start_new_thread(raw_death, ())
        threading.Event().wait(30)

    @pytest.fixture(scope="session")
    def raw_worker():
        go = threading.Event()
        def work():
            go.wait(30)
            raise OSError("planted in the session's raw thread")
        _thread.start_new_thread(work, ())
        return go

    def test_uses_the_raw_worker(raw_worker): pass

    def test_raw_thread_of_the_session(raw_worker):
        raw_worker.set()
        threading.Event().wait(30)

    CALLS = []

    @pytest.mark.flaky(reruns=1)
    def test_waits_long_but_well_when_rerun():
        CALLS.append(1)
        if len(CALLS) == 1:
            dies()
            threading.Event().wait(30)
        time.sleep(0.6)
"""

CASES = re.findall(r'^        "(\w+)": ', WAITS, re.MULTILINE)


def test_every_kind_of_wait_is_broken_and_the_next_test_passes(run):
    inner = run.watched("--junitxml=junit.xml", test_it=WAITS)
    broken = {f"test_waits[{case}]" for case in CASES}
    broken |= {"test_of_the_module", "test_under_a_timeout_by_signal", "test_under_a_timeout_by_thread"}
    broken |= {"test_raw_thread", "test_raw_thread_of_the_session"}
    expected = dict.fromkeys(broken, "failed") | {f"test_next[{case}]": "passed" for case in CASES}
    expected |= dict.fromkeys(
        ("test_function_setup", "test_module_setup", "test_module_setup_again"), "setup failed"
    )
    expected["test_uses_the_raw_worker"] = "passed"
    expected["test_waits_long_but_well_when_rerun"] = "rerun, passed"
    assert inner.outcomes == expected
    for name in (*broken, "test_function_setup", "test_module_setup"):
        said = inner.text(name)
        assert "GPG110: thread " in said, name
        assert "OSError: planted" in said, name
        assert "The above exception was the direct cause" in said, name
        assert "interrupt.py" not in said, name
    assert "started by fixture `worker` (test_it.py:" in inner.text("test_of_the_module")
    junit = (inner.folder / "junit.xml").read_text()
    assert junit.count("The above exception was the direct cause") >= len(broken)
    assert inner.report.verdict.waits_broken == len(inner.report.deaths) >= len(broken) + 3
    assert "tests waited for it and were ended" in re.sub(r"\s+", " ", "\n".join(inner.section))


LEFT_ALONE = """
    import _thread, asyncio, ctypes, sys, threading, time
    import pytest

    def dies(after=0.0, error=OSError("planted")):
        def work():
            time.sleep(after)
            raise error
        thread = threading.Thread(target=work, name="worker", daemon=True)
        thread.start()
        return thread

    LONG = 0.5

    def test_own_hook(monkeypatch):
        monkeypatch.setattr(threading, "excepthook", lambda args: None)
        dies()
        time.sleep(LONG)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_ignored_warning():
        dies()
        time.sleep(LONG)

    @pytest.mark.filterwarnings(
        "ignore:Exception in thread worker:pytest.PytestUnhandledThreadExceptionWarning"
    )
    def test_ignored_by_message():
        dies()
        time.sleep(LONG)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_raw_thread_ignored():
        def work():
            raise OSError("planted")
        _thread.start_new_thread(work, ())
        time.sleep(LONG)

    def test_executor_carries_it():
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(int, "x")
            time.sleep(LONG)
            assert isinstance(future.exception(), ValueError)

    def test_a_future_of_the_default_executor_carries_it():
        async def work():
            future = asyncio.get_running_loop().run_in_executor(None, int, "x")
            await asyncio.sleep(LONG)
            with pytest.raises(ValueError):
                await future
        asyncio.run(work())

    def test_system_exit():
        dies(error=SystemExit(3))
        time.sleep(LONG)

    def test_ends_by_itself():
        dies().join()

    def step(n):
        time.sleep(0.1)

    def test_goes_on_through_new_lines():
        dies()
        step(1)
        step(2)
        step(3)
        step(4)
        step(5)
        step(6)
        step(7)

    def test_goes_on_through_nested_calls():
        dies()
        def walk(depth):
            time.sleep(0.05)
            if depth:
                walk(depth - 1)
            time.sleep(0.05)
        walk(7)

    def test_wait_in_c_that_no_signal_breaks_and_that_ends():
        libc = ctypes.CDLL(None)
        mutex = ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        until = (ctypes.c_long * 2)(int(time.time()) + 2, 0)
        dies()
        assert libc.pthread_mutex_timedlock(mutex, until) == 110
        step(1)

    @pytest.fixture
    def waits_in_teardown():
        yield
        dies()
        time.sleep(LONG)

    def test_teardown(waits_in_teardown): pass

    @pytest.fixture(scope="module")
    def worker():
        go = threading.Event()
        def work():
            go.wait(30)
            raise OSError("planted")
        threading.Thread(target=work, daemon=True).start()
        return go

    GO = []

    def test_uses_the_module_fixture(worker):
        GO.append(worker)

    def test_does_not_use_it():
        for go in GO:
            go.set()
        time.sleep(LONG)

    @pytest.fixture
    def waits_in_its_teardown(worker):
        yield
        worker.set()
        time.sleep(LONG)

    def test_teardown_of_another_when_the_module_s_thread_dies(waits_in_its_teardown): pass

    def test_passes_at_last(): pass
"""

SILENT = {"test_own_hook", "test_ignored_warning", "test_ignored_by_message", "test_system_exit"}
SILENT |= {"test_raw_thread_ignored", "test_executor_carries_it"}
SILENT |= {"test_a_future_of_the_default_executor_carries_it"}


def test_whoever_does_not_wait_for_the_dead_is_left_alone(run):
    inner = run.watched(test_it=LEFT_ALONE)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.verdict.waits_broken == 0
    told = {death.nodeid.partition("::")[2] for death in inner.report.deaths}
    assert told >= {"test_ends_by_itself", "test_goes_on_through_new_lines", "test_teardown"}
    assert not told & SILENT
    assert inner.ret == 0


IN_C = """
    import ctypes, threading

    def test_waits_in_c():
        libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        def work():
            raise OSError("planted")
        libc.pthread_mutex_lock(mutex)
        threading.Thread(target=work, name="worker", daemon=True).start()
        libc.pthread_mutex_lock(mutex)

    def test_next(): pass
"""


TELLS = """
    import threading, time

    def pytest_configure():
        before = threading.excepthook
        def at_length(args):
            time.sleep(0.8)
            before(args)
        threading.excepthook = at_length
"""

DYING = """
    import threading
    import pytest

    def dies():
        raise OSError("planted")

    def test_waits_for_those_who_tell_of_it():
        thread = threading.Thread(target=dies)
        thread.start()
        thread.join()

    def test_waits_for_ever():
        thread = threading.Thread(target=dies)
        thread.start()
        thread.join()
        threading.Event().wait(30)
"""


def test_a_thread_that_is_still_telling_of_its_exception_is_not_waited_for_in_vain(run):
    inner = run.watched("-p", "no:threadexception", conftest=TELLS, test_it=DYING)
    assert inner.outcomes == {
        "test_waits_for_those_who_tell_of_it": "passed",
        "test_waits_for_ever": "failed",
    }
    assert [death.interrupted for death in inner.report.deaths] == [False, True]


def test_what_waits_in_c_for_the_dead_is_ended_with_its_process_and_the_death_is_told(run):
    limits = ("--gpuguard-stall=0.5s", "--gpuguard-stall-end=1s")
    inner = run.watched("-p", "hasty", *limits, test_it=IN_C)
    assert inner.ret == 1
    if "2" in run.way:
        assert inner.outcomes == {"test_waits_in_c": "failed", "test_next": "passed"}
    assert "GPG601: test_it.py::test_waits_in_c made no progress" in inner.out
    assert "a thread of it that it may wait for: 'worker' ended with OSError: planted" in inner.out
    (death,) = inner.report.deaths
    assert (death.error, death.interrupted) == ("OSError: planted", False)
    assert inner.report.verdict.waits_broken == 0


def test_report_only_never_interrupts(run):
    inner = run.watched(
        "--gpuguard-thread-death=report",
        test_it="""
            import threading

            def test_waits():
                def work():
                    raise OSError("planted")
                threading.Thread(target=work).start()
                assert not threading.Event().wait(1.0)
        """,
    )
    assert inner.outcomes == {"test_waits": "passed"}
    (death,) = inner.report.deaths
    assert (death.error, death.interrupted) == ("OSError: planted", False)


def test_warnings_as_errors_do_not_stand_in_the_way(run):
    inner = run.watched(
        "-W",
        "error",
        test_it="""
            import threading

            def test_waits():
                def work():
                    raise OSError("planted")
                threading.Thread(target=work).start()
                threading.Event().wait(30)

            def test_next(): pass

            def test_does_not_wait():
                def work():
                    raise OSError("planted")
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
        """,
    )
    assert inner.outcomes["test_waits"].startswith("failed")
    assert inner.outcomes["test_next"] == "passed"
    assert "GPG110" in inner.text("test_waits")
    # pytest's own error, which stays as it is.
    assert "PytestUnhandledThreadExceptionWarning" in inner.text("test_does_not_wait")
    assert "GPG110" not in inner.text("test_does_not_wait")
    assert inner.report.verdict.waits_broken == 1
