"""Tolerated leaks: by mark, by baseline; counted, no error, and worse ones are."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pytest_gpuguard.report.baseline import Baseline, accept, write_baseline

SUITE = """
    import pytest
    from watcher import Watcher

    @pytest.fixture
    def leaky():
        return Watcher().start()

    @pytest.mark.parametrize("n", range(2))
    def test_leaks(leaky, n): pass
"""


def _kept(run, report, **changes):
    """Accept all that the report has."""
    day = datetime.now(UTC).date()
    entries = [accept(group, "known upstream", "#7", changes.get("until"), day) for group in report.groups]
    plain = json.loads(write_baseline(Baseline(leaks=entries)))
    for entry in plain["leaks"]:
        entry.update(changes)
    (run.pytester.path / "known.json").write_text(json.dumps(plain))
    for path in (run.pytester.path / ".pytest_cache/d/gpuguard").glob("*/report.json"):
        path.unlink()


BEATING = """
    import threading

    class Heart:
        def __init__(self):
            self.beat()

        def beat(self):
            self.timer = threading.Timer(0.01, self.beat)
            self.timer.daemon = True
            self.timer.start()
"""


def _strict(run, *args, **files):
    return run.watched("--gpuguard-leaks=error", *args, **files)


def test_what_the_baseline_has_is_counted_and_no_error(run):
    first = _strict(run, test_it=SUITE)
    assert first.ret == 1
    _kept(run, first.report)
    again = _strict(run, "--gpuguard-baseline=known.json")
    assert again.ret == 0
    (group,) = again.report.groups
    assert (group.status, group.known.reason, group.known.issue) == ("known", "known upstream", "#7")
    assert again.report.verdict.leaks_known == 1
    assert "KNOWN" in again.out
    assert "known upstream" in again.out
    assert " leaked" not in again.out.splitlines()[-1]


def test_more_than_accepted_are_worse_and_make_the_run_fail(run):
    first = _strict(run, test_it=SUITE)
    _kept(run, first.report, occurrences=1)
    again = _strict(run, "--gpuguard-baseline=known.json")
    assert again.ret == 1
    assert [group.status for group in again.report.groups] == ["worse"]
    assert "leaks that are worse than accepted make the run fail: 1" in again.out


def test_a_fixture_is_a_leak_of_its_own_also_where_a_thread_has_made_it(run):
    suite = """
        import time
        import pytest
        from heart import Heart

        @pytest.fixture{}
        def {}():
            return Heart()

        def test_it({}): time.sleep(0.05)
    """
    first = _strict(run, heart=BEATING, test_a=suite.format("", "one", "one"))
    _kept(run, first.report)
    again = _strict(
        run, "--gpuguard-baseline=known.json", test_b=suite.format("(scope='module')", "another", "another")
    )
    assert again.ret == 1
    assert {group.leaks[0].origin.fixture.name: group.status for group in again.report.groups} == {
        "one": "known",
        "another": "new",
    }


def test_which_test_is_the_first_to_use_a_wider_fixture_is_no_part_of_its_leak(run):
    suite = """
        import pytest
        from watcher import Watcher

        @pytest.fixture(scope="session")
        def idle():
            return Watcher()

        def _start(watcher):
            if not watcher._thread.is_alive():
                watcher.start()

        def test_one(idle): _start(idle)
        def test_two(idle): _start(idle)
        def test_three(idle): _start(idle)
    """
    first = _strict(run, test_it=suite)
    assert {group.leaks[0].origin.fixture.name for group in first.report.groups} == {"idle"}
    # Once in each worker.
    _kept(run, first.report, occurrences=2)
    again = _strict(run, "--gpuguard-baseline=known.json", "-k", "not one")
    assert again.ret == 0
    assert [group.status for group in again.report.groups] == ["known"]


#: As pytest-asyncio runs coroutines: only while the test runs is something else in its place.
RUNS_COROUTINES = """
    import asyncio, functools, inspect
    import pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        test = item.obj
        if inspect.iscoroutinefunction(test):
            @functools.wraps(test)
            def runs(*args, **kwargs):
                asyncio.run(test(*args, **kwargs))
            item.obj = runs
        try:
            return (yield)
        finally:
            item.obj = test

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        pyfuncitem.obj()
        return True
"""


@pytest.mark.parametrize("kinds", ["thread", "thread,fd"])
def test_what_runs_a_coroutine_is_no_part_of_the_leak_whatever_is_watched(run, kinds):
    suite = """
        from watcher import Watcher

        async def test_it():
            Watcher().start()
    """
    inner = run.watched(f"--gpuguard-leak-kinds={kinds}", conftest=RUNS_COROUTINES, test_it=suite)
    (leak,) = [group.leaks[0] for group in inner.report.groups if group.kind == "thread"]
    assert [frame.function for frame in leak.created] == ["test_it", "Watcher.start"]


def test_an_expired_entry_tolerates_nothing(run_plain):
    first = _strict(run_plain, test_it=SUITE)
    _kept(run_plain, first.report, until="2020-01-01")
    assert _strict(run_plain, "--gpuguard-baseline=known.json").ret == 1


def test_a_leak_that_was_mended_is_gone(run_plain):
    first = _strict(run_plain, test_it=SUITE)
    _kept(run_plain, first.report)
    mended = SUITE.replace("return Watcher().start()", "watcher = Watcher().start(); yield; watcher.close()")
    again = _strict(run_plain, "--gpuguard-baseline=known.json", test_it=mended)
    assert again.ret == 0
    assert [entry.reason for entry in again.report.gone] == ["known upstream"]
    assert "gpuguard baseline prune" in again.out


@pytest.mark.parametrize("switch", ["--gpuguard-leaks=off", "--gpuguard-leak-kinds=process"])
def test_what_was_not_watched_is_not_gone(run, switch):
    _kept(run, _strict(run, test_it=SUITE).report)
    again = run.watched("--gpuguard-baseline=known.json", switch)
    assert again.ret == 0
    assert again.report.gone == []


def test_what_a_failing_test_did_not_come_to_is_not_gone(run):
    _kept(run, _strict(run, test_it=SUITE).report)
    again = _strict(run, "--gpuguard-baseline=known.json", test_it=SUITE.replace("return", "return 1 / 0;"))
    assert again.ret == 1
    assert again.report.gone == []


def test_a_baseline_that_is_not_there_yet_is_said(run_plain):
    inner = _strict(run_plain, "--gpuguard-baseline=none.json", test_it=SUITE)
    assert inner.ret == 1
    said = "the baseline none.json is not there yet: every leak is new (`gpuguard baseline accept` makes one)"
    assert said in " ".join(inner.out.split())


def test_a_baseline_that_cannot_be_read_ends_the_run_before_it_begins(run):
    (run.pytester.path / "known.json").write_text("{")
    inner = _strict(run, "--gpuguard-baseline=known.json", test_it=SUITE)
    assert inner.ret == 4
    assert "GPG502: the baseline cannot be used" in inner.out + inner.err
    assert "INTERNALERROR" not in inner.out + inner.err


@pytest.mark.parametrize(
    ("mark", "tolerated"),
    [
        ("reason='upstream'", True),
        ("kind='thread', reason='upstream', issue=3", True),
        ("match='Watcher.*start', reason='upstream'", True),
        ("kind='pinned', reason='upstream'", False),
        ("match='SomebodyElse', reason='upstream'", False),
    ],
)
def test_a_mark_tolerates_what_it_names(run_plain, mark, tolerated):
    marked = SUITE.replace("@pytest.mark.param", f"@pytest.mark.known_leak({mark})\n    @pytest.mark.param")
    inner = _strict(run_plain, test_it=marked)
    assert inner.ret == (0 if tolerated else 1)
    (group,) = inner.report.groups
    assert group.status == ("known" if tolerated else "new")
    if tolerated:
        assert (group.known.by, group.known.reason) == ("marker", "upstream")


def test_a_mark_of_one_test_does_not_tolerate_the_others(run):
    suite = f"""{SUITE}
    @pytest.mark.known_leak(reason="upstream")
    def test_marked(leaky): pass
    """
    inner = _strict(run, test_it=suite)
    assert inner.ret == 1
    section = "\n".join(inner.section)
    assert "NEW    thread Watcher._loop, 2 times " in section
    assert 'marked    1 more time, "upstream"' in section
    assert "left by   test_leaks[" in section
    assert {name: said for name, said in inner.outcomes.items() if "failed" in said}.keys() == {
        "test_leaks[0]",
        "test_leaks[1]",
    }


def test_a_mark_of_a_module_tolerates_what_its_fixtures_leave(run):
    suite = """
        import pytest
        from watcher import Watcher
        pytestmark = pytest.mark.known_leak(reason="upstream")

        @pytest.fixture(scope="module")
        def wide():
            return Watcher().start()

        def test_it(wide): pass
    """
    inner = _strict(run, test_it=suite)
    assert inner.ret == 0
    assert [group.status for group in inner.report.groups] == ["known"]


def test_a_mark_of_the_last_test_does_not_tolerate_what_wider_fixtures_leave(run):
    suite = """
        import pytest
        from watcher import Watcher

        @pytest.fixture(scope="session")
        def everywhere():
            return Watcher().start()

        @pytest.fixture(scope="module")
        def wide():
            return Watcher().start()

        @pytest.fixture
        def leaky():
            return Watcher().start()

        @pytest.mark.known_leak(reason="upstream")
        def test_last(everywhere, wide, leaky): pass
    """
    inner = _strict(run, test_it=suite)
    assert inner.ret == 1
    assert {
        leak.judged_at: leak.known is not None for group in inner.report.groups for leak in group.leaks
    } == {
        "session": False,
        "module": False,
        "function": True,
    }


def test_a_mark_of_a_class_tolerates_what_its_fixtures_leave_and_nothing_wider(run):
    suite = """
        import pytest
        from watcher import Watcher

        @pytest.fixture(scope="module")
        def wide():
            return Watcher().start()

        @pytest.fixture(scope="class")
        def of_the_class():
            return Watcher().start()

        @pytest.mark.known_leak(reason="upstream")
        class TestIt:
            def test_it(self, wide, of_the_class): pass
    """
    inner = _strict(run, test_it=suite)
    assert inner.ret == 1
    assert {group.leaks[0].judged_at: group.status for group in inner.report.groups} == {
        "module": "new",
        "class": "known",
    }


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("", "wants a reason"),
        ("reason=' '", "wants a reason"),
        ("'upstream'", "takes keywords only"),
        ("reason='x', when='always'", "does not know when"),
        ("reason='x', match='('", "no regular expression"),
        (
            "reason='x', kind='threads'",
            "there is no kind 'threads' (did you mean thread?); there are device, ",
        ),
        ("reason='x', kind=['thread']", "there is no kind ['thread']"),
    ],
)
def test_a_wrong_mark_is_a_usage_error(run_plain, mark, said):
    inner = _strict(run_plain, test_it=f"import pytest\n@pytest.mark.known_leak({mark})\ndef test_it(): pass")
    assert inner.ret == 4
    assert said in inner.out + inner.err


def test_under_workers_a_wrong_mark_fails_its_own_test(run_two):
    inner = _strict(
        run_two,
        test_it="import pytest\n@pytest.mark.known_leak()\ndef test_wrong(): pass\ndef test_right(): pass",
    )
    assert inner.ret == 1
    assert inner.outcomes == {"test_wrong": "setup failed", "test_right": "passed"}
    assert "wants a reason" in inner.text("test_wrong")
