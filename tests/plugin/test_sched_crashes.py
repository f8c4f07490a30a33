"""Workers die: each deadly test is reported once and never run again, all others run."""

from __future__ import annotations

import re
from collections import Counter

import pytest

# 14 tests, of which one ends its process. `-k` leaves none out: xdist counts what it was told.
ONE = """
    import os
    import pytest

    @pytest.mark.parametrize("n", range(6))
    def test_free(n): pass

    @pytest.mark.xdist_group("one")
    @pytest.mark.parametrize("n", range(4))
    def test_one(n):
        if n == 1:
            os._exit(3)

    @pytest.mark.xdist_group("other")
    @pytest.mark.parametrize("n", range(4))
    def test_other(n): pass
"""


def begun(inner):
    """Return how often each test was begun, as the journal that tests keep says."""
    return Counter((inner.folder / "begun.txt").read_text().split())


JOURNAL = """
    import os, pathlib
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        with open(pathlib.Path(item.config.rootpath) / "begun.txt", "a") as file:
            file.write(item.name + "\\n")
"""


def crashed(inner):
    return sorted(
        re.search(r"while running '[^']*::([^']*)'", phase["text"])[1]
        for phase in inner.phases
        if "crashed while running" in phase["text"]
    )


def check(inner, deadly, tests):
    """Every test has begun once, and each deadly one was reported once."""
    assert begun(inner) == dict.fromkeys(begun(inner), 1), inner.out
    assert len(begun(inner)) == tests
    assert crashed(inner) == sorted(deadly)
    assert inner.ret == 1
    assert re.search(rf"{len(deadly)} failed, {tests - len(deadly)} passed", inner.out), inner.out


@pytest.mark.parametrize(
    ("workers", "dist"),
    [
        ("1", "loadgroup"),
        ("1", "loadscope"),
        ("2", "load"),
        ("2", "loadfile"),
        ("4", "worksteal"),
    ],
)
def test_one_crash_is_reported_once_and_all_else_runs(run_plain, workers, dist):
    run_plain.way = ["-n", workers, "--dist", dist]
    check(run_plain.watched(conftest=JOURNAL, test_it=ONE), ["test_one[1]"], 14)


def test_under_loadgroup_without_groups_a_crash_does_not_hang(run_plain):
    run_plain.way = ["-n", "1", "--dist", "loadgroup"]
    source = """
        import os
        import pytest

        @pytest.mark.parametrize("n", range(5))
        def test_it(n):
            if n == 1:
                os._exit(3)
    """
    check(run_plain.watched(conftest=JOURNAL, test_it=source), ["test_it[1]"], 5)


@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_two_crashes_in_one_group(run_plain, workers):
    run_plain.way = ["-n", workers, "--dist", "loadgroup"]
    source = ONE.replace("n == 1", "n in (0, 2)")
    check(run_plain.watched(conftest=JOURNAL, test_it=source), ["test_one[0]", "test_one[2]"], 14)


def test_every_test_of_a_group_is_deadly(run_two):
    source = """
        import os
        import pytest

        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("n", range(3))
        def test_it(n):
            os._exit(3)

        def test_good(): pass
    """
    deadly = [f"test_it[{n}]" for n in range(3)]
    check(run_two.watched(conftest=JOURNAL, test_it=source), deadly, 4)


def test_a_crash_in_teardown_and_then_another(run_two):
    source = """
        import os
        import pytest

        @pytest.fixture
        def deadly():
            yield
            os._exit(3)

        @pytest.mark.xdist_group("one")
        class TestIt:
            def test_before(self): pass
            def test_teardown(self, deadly): pass
            def test_between(self): pass
            def test_call(self): os._exit(3)
            def test_after(self): pass
    """
    inner = run_two.watched(conftest=JOURNAL, test_it=source)
    assert begun(inner) == dict.fromkeys(begun(inner), 1)
    assert len(begun(inner)) == 5
    assert crashed(inner) == ["test_call", "test_teardown"]


@pytest.mark.parametrize("dist", ["load", "loadfile"])
def test_a_crash_in_setup_is_one_too(run_plain, dist):
    source = """
        import os
        import pytest

        @pytest.fixture
        def deadly(): os._exit(3)

        @pytest.mark.xdist_group("one")
        class TestIt:
            def test_before(self): pass
            def test_setup(self, deadly): pass
            def test_after(self): pass

        def test_free(): pass
    """
    run_plain.way = ["-n", "2", "--dist", dist]
    check(run_plain.watched(conftest=JOURNAL, test_it=source), ["test_setup"], 4)


def test_stop_at_the_first_failure_counts_a_crash(run_plain):
    run_plain.way = ["-n", "1", "--dist", "loadgroup"]
    inner = run_plain.watched("-x", conftest=JOURNAL, test_it=ONE)
    assert inner.ret == 1, inner.out
    assert crashed(inner) == ["test_one[1]"]
    assert "stopping after 1 failures, of which the last was a crash" in inner.out
    assert len(begun(inner)) < 14


def test_plugins_may_run_a_crashed_test_again(run_two):
    conftest = (
        JOURNAL
        + """
    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(crashitem, report, sched):
        if not os.path.exists("again"):
            open("again", "w").close()
            sched.mark_test_pending(crashitem)
            report.outcome = "rerun"
    """
    )
    source = ONE.replace("if n == 1:", "if n == 1 and not os.path.exists('again'):")
    inner = run_two.watched(conftest=conftest, test_it=source)
    assert inner.ret == 0, inner.out
    counts = begun(inner)
    assert counts.pop("test_one[1]") == 2
    assert counts == dict.fromkeys(counts, 1)
    assert len(counts) == 13


def test_when_no_worker_may_be_replaced_the_others_run_what_is_left(run_two):
    # The group is begun by one; its rest goes to the other.
    inner = run_two.watched("--max-worker-restart=0", conftest=JOURNAL, test_it=ONE)
    assert inner.ret == 1
    assert crashed(inner) == ["test_one[1]"]
    assert begun(inner) == dict.fromkeys(begun(inner), 1)
    assert "worker restarting disabled" in inner.out


def test_a_worker_that_leaves_after_a_reported_failure_is_no_second_one(run_two):
    conftest = (
        JOURNAL
        + """
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if report.failed:
            report.user_properties.append(("gpuguard_leaving", "the context is gone"))
            item.leaving = True
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(item):
        yield
        if getattr(item, "leaving", False):
            os._exit(0)
        return True
    """
    )
    source = ONE.replace("os._exit(3)", "raise AssertionError('once')")
    inner = run_two.watched(conftest=conftest, test_it=source)
    assert inner.ret == 1
    assert begun(inner) == dict.fromkeys(begun(inner), 1)
    assert len(begun(inner)) == 14
    assert "1 failed, 13 passed" in inner.out
    assert crashed(inner) == []
