"""Groups and needs reach the scheduler whoever marks the tests, and node ids stay as they are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict

import pytest

GROUPED = {
    "conftest": """
        import pytest

        def pytest_itemcollected(item):
            if "early" in item.name:
                item.add_marker(pytest.mark.xdist_group("early"))

        def pytest_collection_modifyitems(items):
            for item in items:
                if "plain" in item.name:
                    item.add_marker(pytest.mark.xdist_group("plain"))

        @pytest.hookimpl(trylast=True)
        def pytest_collection_finish(session):
            assert not any("@" in item.nodeid for item in session.items)
    """,
    "test_all": """
        import os, time
        import pytest

        @pytest.fixture(autouse=True)
        def where(record_property):
            record_property("worker", os.environ.get("PYTEST_XDIST_WORKER"))

        @pytest.mark.parametrize("n", range(6))
        def test_early(n): time.sleep(0.01)

        @pytest.mark.parametrize("n", range(6))
        def test_plain(n): time.sleep(0.01)

        @pytest.mark.xdist_group("marked")
        class TestMarked:
            @pytest.mark.parametrize("n", range(6))
            def test_one(self, n): time.sleep(0.01)

            def test_failing(self):
                assert not os.environ.get("FAIL")

        @pytest.mark.parametrize("n", range(20))
        def test_free(n): time.sleep(0.05)
    """,
}


def workers_by(path, pattern=r"test_(\w+)"):
    """Return the workers of each kind of test, as the JUnit file says."""
    found = defaultdict(set)
    for case in ET.parse(path).iter("testcase"):
        kind = case.get("classname").rpartition(".")[2] + "." + re.match(pattern, case.get("name"))[1]
        found[kind] |= {p.get("value") for p in case.iter("property") if p.get("name") == "worker"}
    return found


@pytest.mark.parametrize("dist", ["load", "loadgroup", "worksteal"])
def test_groups_keep_together_whoever_marks_them_and_names_stay_clean(run_two, dist):
    junit = run_two.pytester.path / "junit.xml"
    inner = run_two.watched("-v", f"--dist={dist}", f"--junitxml={junit}", **GROUPED)
    assert inner.ret == 0, inner.out
    assert "scheduling tests via GpuguardScheduling" in inner.out
    by = workers_by(junit)
    assert [len(by[kind]) for kind in ("test_all.early", "test_all.plain", "TestMarked.one")] == [1, 1, 1], by
    assert len(by["test_all.free"]) == 2
    assert "@" not in junit.read_text()


@pytest.mark.parametrize("argument", [[], ["part"]], ids=["found", "given"])
def test_marks_of_a_conftest_further_down_count_too(run_two, argument):
    # To pytest it is another kind of conftest where its folder is an argument, with another order of hooks.
    part = run_two.pytester.mkdir("part")
    (part / "conftest.py").write_text(
        "import pytest\n\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if 'deep' in item.name:\n"
        "            item.add_marker(pytest.mark.xdist_group('deep'))\n"
    )
    (part / "test_part.py").write_text(
        "import time\nimport pytest\n\n"
        "@pytest.mark.parametrize('n', range(6))\ndef test_deep(n): time.sleep(0.01)\n\n"
        "@pytest.mark.parametrize('n', range(20))\ndef test_free(n): time.sleep(0.05)\n"
    )
    inner = run_two.watched("--dist=loadgroup", *argument)
    assert inner.ret == 0, inner.out
    by = defaultdict(set)
    for span in inner.report.tests:
        by["deep" in span.nodeid].add(span.worker)
    assert (len(by[True]), len(by[False])) == (1, 2)


def test_a_failed_test_of_a_group_is_the_only_one_that_last_failed_runs(run_two):
    run_two.setenv("FAIL", "1")
    first = run_two.watched("--dist=loadgroup", **GROUPED)
    assert (first.ret, first.outcomes["TestMarked::test_failing"]) == (1, "failed")
    again = run_two.watched("--lf", "--dist=load")
    assert again.outcomes == {"TestMarked::test_failing": "failed"}


@pytest.mark.parametrize("dist", ["loadscope", "loadfile"])
def test_scopes_and_files_are_groups_where_xdist_is_asked_for_them(run_two, dist):
    junit = run_two.pytester.path / "junit.xml"
    source = """
        import os, time
        import pytest

        @pytest.mark.parametrize("n", range(5))
        class TestOne:
            def test_it(self, n, record_property):
                record_property("worker", os.environ["PYTEST_XDIST_WORKER"])
                time.sleep(0.02)

        class TestOther(TestOne):
            pass
    """
    inner = run_two.watched("-v", f"--dist={dist}", f"--junitxml={junit}", test_a=source, test_b=source)
    assert inner.ret == 0, inner.out
    assert "scheduling tests via GpuguardScheduling" in inner.out
    groups = defaultdict(set)
    for case in ET.parse(junit).iter("testcase"):
        (worker,) = (p.get("value") for p in case.iter("property"))
        scope = case.get("classname")
        groups[scope if dist == "loadscope" else scope.rpartition(".")[0]].add(worker)
    assert [len(workers) for workers in groups.values()] == [1] * (4 if dist == "loadscope" else 2)


@pytest.mark.parametrize(
    ("dist", "name"),
    [("load", "LoadScheduling"), ("worksteal", "WorkStealingScheduling"), ("loadgroup", "LoadScheduling")],
)
def test_without_needs_and_groups_xdist_schedules(run_two, dist, name):
    inner = run_two.watched("-v", f"--dist={dist}", test_it="def test_a(): pass\ndef test_b(): pass\n")
    assert inner.ret == 0, inner.out
    # Not named as ours: it was made by ours, which says nothing then.
    assert "GpuguardScheduling" in inner.out
    assert inner.outcomes == {"test_a": "passed", "test_b": "passed"}


def test_switched_off_xdist_is_left_alone(run_two):
    inner = run_two.watched("-v", "--dist=load", "--gpuguard-scheduler=off", **GROUPED)
    assert inner.ret == 0, inner.out
    assert "scheduling tests via LoadScheduling" in inner.out


def test_a_scheduler_of_the_project_is_used_and_that_is_said(run_two):
    conftest = """
        import pytest

        @pytest.hookimpl(optionalhook=True)
        def pytest_xdist_make_scheduler(config, log):
            from xdist.scheduler import LoadScheduling
            return LoadScheduling(config, log)
    """
    inner = run_two.watched("-v", conftest=conftest, test_it=GROUPED["test_all"])
    assert inner.ret == 0, inner.out
    assert "scheduling tests via LoadScheduling" in inner.out
    assert "brings a scheduler of its own" in inner.out


def test_suites_with_groups_run_without_workers_too(run):
    inner = run.watched("-W", "error", test_it=GROUPED["test_all"])
    assert inner.ret == 0, inner.out


CONTENDING = """
    import time
    import pytest
    from together import using

    @pytest.mark.parametrize("n", range(30))
    def test_free(n):
        time.sleep(0.02)

    @pytest.mark.parametrize("n", range(6))
    def test_heavy(n):
        with using(60):
            time.sleep(0.1)
"""


def test_contenders_are_kept_apart_so_that_nobody_waits_for_a_lease(run_two, tmp_path):
    conftest = """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if "heavy" in item.name:
                    item.add_marker(pytest.mark.gpu(pinned="60 MiB"))
    """
    run_two.setenv("TOGETHER", str(tmp_path / "together"))
    (tmp_path / "budget").mkdir()
    inner = run_two.watched(
        "--gpuguard-budget=pinned=100MiB",
        f"--gpuguard-budget-dir={tmp_path / 'budget'}",
        conftest=conftest,
        test_it=CONTENDING,
    )
    assert inner.ret == 0, inner.out
    assert not inner.report.waits, inner.out


def test_a_replacement_that_collects_other_tests_is_not_used(run_two):
    source = """
        import os
        import pytest

        # More tests in every worker that replaces one.
        extra = int(os.environ["PYTEST_XDIST_WORKER"][2:]) > 1

        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("n", range(4 + extra))
        def test_it(n):
            if n == 1:
                os._exit(3)
    """
    inner = run_two.watched(test_it=source)
    assert "1 failed, 3 passed" in inner.out  # the other worker has run the rest of the group
    run_two.way = ["-n", "1"]
    alone = run_two.watched(test_it=source.replace("> 1", "> 0"))
    assert alone.ret == 1, alone.out
    assert "has collected other tests" in alone.out
    assert "2 tests were not run: no worker is left that collected them" in alone.out
