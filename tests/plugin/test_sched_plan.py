"""What tests share, and the plan that ``--collect-only`` prints."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict

SETS = """
    import os, time
    import pytest

    @pytest.fixture(scope="session", params=["a", "b", "c", "d"])
    def compiled(request):
        return request.param

    @pytest.fixture(scope="session")
    def given(request):
        return request.param

    @pytest.mark.parametrize("n", range(6))
    def test_it(n, compiled, record_property):
        record_property("set", compiled + os.environ["PYTEST_XDIST_WORKER"])
        time.sleep(0.02)

    @pytest.mark.parametrize("given", ["x", {"y": 1}], indirect=True)
    @pytest.mark.parametrize("n", range(6))
    def test_indirect(n, given, record_property):
        record_property("set", str(given) + os.environ["PYTEST_XDIST_WORKER"])
        time.sleep(0.02)
"""


def workers_by_set(path):
    found = defaultdict(set)
    for case in ET.parse(path).iter("testcase"):
        for entry in case.iter("property"):
            if entry.get("name") == "set":
                found[entry.get("value")[:-3]].add(entry.get("value")[-3:])
    return found


def test_sets_of_session_parameters_go_to_one_worker_each(run_two):
    junit = run_two.pytester.path / "junit.xml"
    for run_number in (1, 2):
        inner = run_two.watched("--gpuguard-group-by=session-params", f"--junitxml={junit}", test_it=SETS)
        assert inner.ret == 0, inner.out
        by = workers_by_set(junit)
        sets = ["a", "b", "c", "d"] if run_number == 1 else ["a", "b", "c", "d", "x", "{'y': 1}"]
        # One set may be helped with at the end; spread over both workers they would all be.
        assert sum(len(by[name]) > 1 for name in sets) <= 1, (run_number, by)


def test_collecting_alone_prints_the_plan_and_touches_no_device(run):
    source = """
        import pytest
        from pytest_gpuguard import gpu_demand

        @pytest.fixture
        @gpu_demand(pinned="20 MiB")
        def buffers(): pass

        @pytest.mark.xdist_group("together")
        @pytest.mark.parametrize("n", range(3))
        def test_grouped(n): pass

        @pytest.mark.gpu(memory="1 GiB", pinned="60 MiB")
        @pytest.mark.parametrize("n", range(4))
        def test_heavy(n): pass

        def test_by_fixture(buffers): pass
    """
    conftest = """
        import sys

        def pytest_unconfigure():
            from pytest_gpuguard.devices import discovery
            assert "pynvml" not in sys.modules
            assert not discovery.discovered.cache_info().currsize
    """
    inner = run.watched("--co", "-q", "--gpuguard-budget=pinned=100MiB", conftest=conftest, test_it=source)
    assert inner.ret == 0, inner.out + inner.err
    assert "group together: 3 tests" in inner.out
    assert "need 60.0 MiB pinned, 1.00 GiB gpu: test_it.py::test_heavy[0] and 3 more" in inner.out
    assert "need 20.0 MiB pinned: test_it.py::test_by_fixture" in inner.out
    assert "-n 1: expected peak 1.00 GiB gpu, 60.0 MiB pinned of 100.0 MiB" in inner.out
    assert "-n 2: expected peak 1.00 GiB gpu, 80.0 MiB pinned of 100.0 MiB" in inner.out


def test_a_suite_without_needs_and_groups_has_a_plan_of_one_line(run_plain):
    inner = run_plain.watched("--co", test_it="def test_it(): pass")
    assert "no test has a need or a group: left to xdist" in inner.out
