"""Threads that a test leaves behind: found, blamed on the right fixture, beside the result of the test."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

SUITE = """
    import asyncio, threading, time
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    from watcher import Watcher

    def started():
        return Watcher().start()

    @pytest.fixture
    def leaky():
        return started()

    @pytest.fixture
    def clean():
        watcher = started()
        yield watcher
        watcher.close()

    def test_leaks(leaky): pass

    @pytest.mark.parametrize("n", [1, 2])
    def test_leaks_for_each(leaky, n): pass

    def test_fails_and_leaks(leaky):
        assert 1 == 2

    @pytest.mark.xfail(reason="known")
    def test_xfails_and_leaks(leaky):
        assert 1 == 2

    @pytest.mark.xfail(reason="known", strict=True)
    def test_xfails_strictly_and_leaks(leaky):
        assert 1 == 2

    def test_skips_and_leaks(leaky):
        pytest.skip("no reason")

    @pytest.mark.timeout(60, method="signal")
    def test_leaks_under_a_timeout_by_signal(leaky): pass

    @pytest.mark.timeout(60, method="thread")
    def test_leaks_under_a_timeout_by_thread(leaky): pass

    def test_leaks_itself():
        started()

    def test_leaks_by_name(request):
        request.getfixturevalue("leaky")

    def test_is_clean(clean): pass

    @pytest.mark.timeout(60, method="thread")
    def test_is_clean_under_a_timeout_by_thread(clean): pass

    def test_thread_that_ends_soon():
        threading.Thread(target=time.sleep, args=(0.05,)).start()

    def test_thread_that_is_joined():
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()

    def test_executor_in_a_with_block():
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(str, range(4))) == ["0", "1", "2", "3"]

    def test_executor_that_is_dropped():
        assert ThreadPoolExecutor(1).submit(int).result() == 0

    def test_to_thread():
        async def work():
            return await asyncio.to_thread(int)
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(work()) == 0
        loop._kept = loop._default_executor  # never closed, as in many suites
        KEPT.append(loop)

    KEPT = []

    def test_timer_that_is_cancelled():
        timer = threading.Timer(30, int)
        timer.start()
        timer.cancel()

    def test_fails_and_is_clean(clean):
        assert 1 == 2
"""

LEAKING = {
    "test_leaks",
    "test_leaks_for_each[1]",
    "test_leaks_for_each[2]",
    "test_fails_and_leaks",
    "test_xfails_and_leaks",
    "test_xfails_strictly_and_leaks",
    "test_skips_and_leaks",
    "test_leaks_under_a_timeout_by_signal",
    "test_leaks_under_a_timeout_by_thread",
    "test_leaks_itself",
    "test_leaks_by_name",
}


def test_report_names_fixture_line_and_remedy_and_changes_no_result(run):
    inner = run.watched(test_it=SUITE)
    assert inner.leaking == LEAKING
    assert {name for name, outcome in inner.outcomes.items() if "teardown" in outcome} == set()
    assert inner.ret == 1  # for the two planted failures alone
    assert re.search(r"2 failed, \d+ passed, 1 skipped, 2 xfailed, 11 leaked", inner.out)
    by_fixture, by_test = inner.report.groups
    assert (by_fixture.totals.occurrences, by_test.totals.occurrences) == (10, 1)
    block = "\n".join(inner.section)
    assert "suspect   test_it.py:7  started" in block
    assert "owner     fixture `leaky` (function)  test_it.py:9" in block
    assert "write `yield` for `return`, and call its `close()` after the yield" in re.sub(r"\s+", " ", block)
    assert "WatcherThread" not in block
    probe = inner.report.probes[0]
    assert (probe.kind, probe.known) == ("thread", 1 + 2)  # asyncio's executor, pytest-timeout's own timers


UNITTEST = """
    import unittest
    from watcher import Watcher

    class Leaky(unittest.TestCase):
        def setUp(self):
            self.watcher = Watcher().start()
        def test_leaks(self): pass
        def test_fails_and_leaks(self):
            self.fail("own")

    class Clean(unittest.TestCase):
        def setUp(self):
            self.watcher = Watcher().start()
            self.addCleanup(self.watcher.close)
        def test_is_clean(self): pass

    class Wide(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.watcher = Watcher().start()
        @classmethod
        def tearDownClass(cls):
            cls.watcher.close()
        def test_first(self): pass
        def test_second(self): pass
"""

RERUN = """
    import pytest
    from watcher import Watcher

    CALLS = []

    @pytest.fixture
    def leaky():
        return Watcher().start()

    @pytest.mark.flaky(reruns=2)
    def test_rerun_for_no_leak(leaky):
        CALLS.append(1)
        assert len(CALLS) == 1

    @pytest.mark.flaky(reruns=2)
    def test_rerun_once(leaky):
        CALLS.append("once")
        assert CALLS.count("once") == 2

    @pytest.mark.flaky(reruns=2)
    def test_rerun_in_vain(leaky):
        assert 0

    @pytest.mark.flaky(reruns=2)
    def test_rerun_is_clean_at_last(request):
        CALLS.append("first")
        if CALLS.count("first") == 1:
            request.getfixturevalue("leaky")
            assert 0
"""

TEARDOWN = """
    import pytest
    from watcher import Watcher

    @pytest.fixture
    def broken():
        yield Watcher().start()
        raise OSError("own error")

    def test_teardown_fails_by_itself(broken): pass
"""

INNOCENT = """
    import pytest
    from watcher import Watcher

    AT_COLLECTION = Watcher().start()

    @pytest.fixture(scope="module")
    def watcher():
        watcher = Watcher().start()
        yield watcher
        watcher.close()

    def test_starts_it_again(watcher):
        with pytest.raises(RuntimeError, match="once"):
            watcher.start()

    def test_other(watcher): pass
"""

UNITTEST_LEAKING = {"Leaky::test_leaks", "Leaky::test_fails_and_leaks"}
RERUN_LEAKING = {
    "test_rerun_for_no_leak",
    "test_rerun_once",
    "test_rerun_in_vain",
    "test_rerun_is_clean_at_last",
}


def test_error_adds_the_leak_and_keeps_what_the_test_said(run):
    inner = run.watched(
        "--gpuguard-leaks=error",
        "--junitxml=junit.xml",
        test_it=SUITE,
        test_unittest=UNITTEST,
        test_rerun=RERUN,
        test_teardown=TEARDOWN,
        test_innocent=INNOCENT,
    )
    assert inner.ret == 1
    leaking = LEAKING | UNITTEST_LEAKING | RERUN_LEAKING | {"test_teardown_fails_by_itself"}
    assert {name for name, outcome in inner.outcomes.items() if "teardown failed" in outcome} == leaking
    expected = {
        "test_leaks": "passed, teardown failed",
        "test_fails_and_leaks": "failed, teardown failed",
        "test_xfails_and_leaks": "xskipped, teardown failed",
        "test_xfails_strictly_and_leaks": "xskipped, teardown failed",
        "test_skips_and_leaks": "skipped, teardown failed",
        "test_is_clean": "passed",
        "test_fails_and_is_clean": "failed",
        "Leaky::test_leaks": "passed, teardown failed",
        "Leaky::test_fails_and_leaks": "failed, teardown failed",
        "Clean::test_is_clean": "passed",
        "Wide::test_first": "passed",
        "Wide::test_second": "passed",
        # A leak is no reason to run a test again, and one error tells of all its runs.
        "test_rerun_for_no_leak": "passed, teardown failed",
        "test_rerun_once": "rerun, passed, teardown failed",
        "test_rerun_in_vain": "rerun, rerun, failed, teardown failed",
        "test_rerun_is_clean_at_last": "rerun, passed, teardown failed",
        "test_starts_it_again": "passed",
        "test_other": "passed",
    }
    assert {name: inner.outcomes[name] for name in expected} == expected
    said = inner.text("test_fails_and_leaks")
    assert "assert 1 == 2" in said
    assert "left behind: thread Watcher._loop" in said
    assert "its test failed: the traceback may be what keeps it alive" in said
    assert "may be what keeps it alive" not in inner.text("test_leaks")
    assert "Leaky.setUp" in inner.text("Leaky::test_leaks")
    assert ", 3 times " in inner.text("test_rerun_in_vain")
    assert "own error" in inner.text("test_teardown_fails_by_itself")
    assert "fixture `broken`" in inner.text("test_teardown_fails_by_itself")
    cases = ET.parse(inner.folder / "junit.xml").iter("testcase")
    blamed = {
        case.get("name")
        for case in cases
        for error in case.iter("error")
        if "left behind: thread " in error.get("message", "")
    }
    assert blamed >= {"test_leaks", "test_rerun_once"}
    again = run.watched("--lf", "--collect-only", "-q")
    selected = {line.partition("::")[2] for line in again.out.splitlines() if "::" in line}
    assert selected == leaking | {"test_fails_and_is_clean"}


def test_a_leak_is_blamed_once_and_report_leaves_the_exit_code(run):
    inner = run.watched(
        "-q",
        test_it="""
            import threading
            import pytest
            from watcher import Watcher

            @pytest.fixture
            def leaky():
                return Watcher().start()

            def test_first(leaky): pass

            @pytest.mark.parametrize("n", range(6))
            def test_others(n):
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()
        """,
    )
    assert inner.ret == 0
    assert inner.outcomes["test_first"] == "passed"
    assert inner.leaking == {"test_first"}
    assert inner.report.verdict.leaks == inner.report.groups[0].totals.occurrences == 1
    assert "7 passed, 1 leaked in" in inner.out
    assert "  suspect   test_it.py:7  leaky" in inner.section


def test_off_judges_nothing_and_says_so(run):
    inner = run.watched(
        "--gpuguard-leaks=off",
        test_it="""
            from watcher import Watcher
            def test_leaks():
                Watcher().start()
        """,
    )
    assert inner.report.groups == []
    assert "leaked" not in inner.out
    assert "nothing left behind" not in inner.out
    assert "gpuguard: leaks=off" in inner.out


CLEAN = """
    import threading

    def test_it():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
"""


def test_a_clean_run_says_what_was_watched_and_no_more(run):
    inner = run.watched(test_it=CLEAN)
    assert inner.section == []
    header, mode, closing, blank = [line for line in inner.out.splitlines() if line.startswith("gpuguard")]
    assert header == "gpuguard: active settle=0.2s"
    assert mode == "gpuguard: mode sim (NUMBA_ENABLE_CUDASIM is set)"
    assert closing == "gpuguard: 1 thread seen in 1 test, nothing left behind"
    assert blank.startswith("gpuguard: watched, none seen: ")
    assert blank == "gpuguard: watched, none seen: process, pinned, device, stream, event, shm"
    assert "gpuguard" not in run.watched("-q").out


HOSTILE = r"""
    import threading
    import pytest

    class Owner:
        def __init__(self, name):
            self._over = threading.Event()
            target = self.run_until_closed_or_for_ever_whichever_comes_first_in_our_time
            self._thread = threading.Thread(target=target, name=name, daemon=True)
            self._thread.start()
        def run_until_closed_or_for_ever_whichever_comes_first_in_our_time(self):
            self._over.wait()
        def close(self):
            self._over.set()

    class Str(str):
        pass

    NAMES = ["\x1b[31mred\x1b[0m", "[bold]markup[/bold]<b>&amp;", "two\nlines\r\x00", "long " * 400,
             "w" * 3000, "\udce9 alone", Str("subclass"), "\u202eright to left", "=== 7 failed ==="]

    @pytest.mark.parametrize("name", NAMES)
    def test_name(name):
        Owner(name)

    @pytest.mark.parametrize("p", ["\x1b[2J", "[red]", "a" * 300, "two\nlines"])
    def test_parameter(p):
        Owner("plain")

    def test_error():
        class Silent(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        def die(error):
            raise error
        errors = (Silent(), ValueError("\x1b[31mred"), ValueError("w " * 5000), ValueError(Str("s")))
        for error in errors:
            thread = threading.Thread(target=die, args=(error,), name="\x1b[31mred")
            thread.start()
            thread.join()

    def test_a_very_long_name_of_a_test_that_nobody_would_write_by_hand_but_a_generator_may():
        Owner("plain")
"""
LONG = "test_a_very_long_name_of_a_test_that_nobody_would_write_by_hand_but_a_generator_may"


def test_hostile_names_are_printed_harmlessly_and_break_no_record(run):
    inner = run.watched("-vv", test_it=HOSTILE)
    assert "INTERNALERROR" not in inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    assert sum(len(group.leaks) for group in inner.report.groups) == 14
    assert len(inner.report.deaths) == 4
    lines = inner.section
    assert lines
    # Names stay whole, unless nobody could read them.
    assert [line for line in lines if len(line) > 80 and LONG not in line] == []
    assert [line for line in lines if not line.isprintable()] == []
    assert len(lines) < 200
