"""After many tests of which there was nothing to tell, one of which there is something is told of as ever."""

from __future__ import annotations

SUITE = """
    import _thread, ctypes, subprocess, threading
    from multiprocessing import shared_memory
    import pytest
    from numba import cuda
    from watcher import Watcher

    KEPT = []

    def quiet():
        # More than any part of the plugin waits before it takes itself out of the way.
        @pytest.mark.parametrize("n", range(60))
        def test_quiet(n): pass
        return test_quiet

    test_0 = quiet()

    def test_thread():
        Watcher().start()

    test_1 = quiet()

    def test_raw_thread():
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.acquire, ())

    test_2 = quiet()

    def test_native_thread():
        libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
        libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
        code = ctypes.cast(libc.sleep, ctypes.c_void_p)
        assert libc.pthread_create(ctypes.byref(ident), None, code, 1000) == 0

    test_3 = quiet()

    def test_process():
        KEPT.append(subprocess.Popen(["sleep", "1000"]))

    test_4 = quiet()

    def test_shm():
        KEPT.append(shared_memory.SharedMemory(create=True, size=4096))

    test_5 = quiet()

    def test_pinned():
        KEPT.append(cuda.pinned_array(100))

    test_6 = quiet()

    def test_stream():
        KEPT.append(cuda.stream())

    test_7 = quiet()

    def test_fails_and_leaks():
        Watcher().start()
        assert 0

    test_8 = quiet()

    @pytest.mark.xfail
    def test_xfails_and_leaks():
        Watcher().start()
        assert 0

    test_9 = quiet()

    @pytest.fixture
    def broken():
        yield
        Watcher().start()
        raise OSError("planted")

    def test_teardown_fails_and_leaks(broken): pass

    test_10 = quiet()

    def test_death():
        def work():
            raise OSError("planted")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    test_11 = quiet()

    @pytest.mark.gpu(pinned="1 MiB")
    def test_lease(): pass

    test_12 = quiet()

    def test_makes_no_progress():
        threading.Event().wait(60)

    test_13 = quiet()

    @pytest.fixture(scope="module")
    def wide():
        return Watcher().start()

    def test_wide(wide): pass

    test_14 = quiet()
"""


def test_each_kind_of_event_is_told_after_many_tests_without(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    more = ("--gpuguard-stall=2s", "--gpuguard-stall-end=3s", "--gpuguard-budget=pinned=10MiB")
    pool = f"--gpuguard-pool=quiet-{run.pytester.path.name}"
    inner = run.watched("--gpuguard-leaks=error", "--gpuguard-reap", *more, pool, test_it=SUITE)
    wrong = {name: outcome for name, outcome in inner.outcomes.items() if outcome != "passed"}
    leaking = ("thread", "raw_thread", "native_thread", "process", "shm", "pinned", "stream")
    assert wrong == {
        **{f"test_{name}": "passed, teardown failed" for name in leaking},
        "test_fails_and_leaks": "failed, teardown failed",
        "test_xfails_and_leaks": "xskipped, teardown failed",
        "test_teardown_fails_and_leaks": "passed, teardown failed",
        "test_makes_no_progress": "failed",
    }
    others = {"test_fails_and_leaks", "test_xfails_and_leaks", "test_teardown_fails_and_leaks", "test_wide"}
    assert inner.leaking == {f"test_{name}" for name in leaking} | others
    assert [death.nodeid for death in inner.report.deaths] == ["test_it.py::test_death"]
    assert "test_it.py::test_makes_no_progress" in {stall.nodeid for stall in inner.report.stalls}
    assert max(max(levels.amount) for levels in inner.report.levels if levels.resource == "pinned") == 1 << 20
    assert sum(test.outcome == "passed" for test in inner.report.tests) >= 15 * 60


LATE = """
    import threading
    import pytest

    GO = threading.Event()

    def work():
        GO.wait(60)
        raise OSError("planted")

    THREAD = threading.Thread(target=work, daemon=True)

    def pytest_sessionstart():
        THREAD.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        result = yield
        if call.when == "teardown" and item.name == "test_last":
            GO.set()
            THREAD.join(60)
        return result
"""


def test_what_comes_after_the_last_question_is_told_at_the_end(run):
    inner = run.watched(
        conftest=LATE,
        test_it="""
            import pytest

            @pytest.mark.parametrize("n", range(160))
            def test_quiet(n): pass

            def test_last(): pass
        """,
    )
    assert inner.ret == 0, inner.out
    assert [death.nodeid for death in inner.report.deaths] == ["test_it.py::test_last"]


def test_what_a_test_claims_after_many_that_did_not_is_told_with_it(run, tmp_path):
    # A lease is no birth: whoever claims once may claim again, and nothing else moves when he does.
    inner = run.watched(
        "--gpuguard-budget=pinned=10MiB",
        f"--gpuguard-budget-dir={tmp_path}",
        test_it="""
            import pytest

            @pytest.mark.gpu(pinned="1 MiB")
            def test_first(): pass

            @pytest.mark.parametrize("n", range(60))
            def test_quiet(n): pass

            @pytest.mark.gpu(pinned="2 MiB")
            def test_takes(): pass

            @pytest.mark.parametrize("n", range(60))
            def test_quiet_again(n): pass
        """,
    )
    assert inner.ret == 0, inner.out
    reserved = {
        span.nodeid.partition("::")[2]: span.reserved["pinned"] >> 20
        for span in inner.report.tests
        if span.reserved
    }
    assert reserved == {"test_first": 1, "test_takes": 2}


ENCODINGS = """
    import threading

    import pytest

    @pytest.mark.gpu(pinned="1 MiB")
    def test_claims(): pass

    def test_leaks():
        threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


def test_nothing_of_ours_depends_on_the_locale(run):
    # Those who look for such calls of their own make errors of them.
    run.setenv("PYTHONWARNDEFAULTENCODING", "1")
    inner = run.watched("-Werror::EncodingWarning", "--gpuguard-report=out", test_it=ENCODINGS)
    assert inner.ret == 0, inner.out + inner.err
    assert inner.outcomes == {"test_claims": "passed", "test_leaks": "passed"}
    assert "EncodingWarning" not in inner.out + inner.err
