"""What workers keep to their end, devices for one test alone, and what comes last: real runs, two workers."""

from __future__ import annotations

import os
import sys

import pytest

POOL = """
    import time
    import pytest
    from pytest_gpuguard import gpu_demand

    @pytest.fixture(scope="session")
    @gpu_demand(pinned="60 MiB")
    def pool(): pass

    @pytest.mark.parametrize("n", range(6))
    def test_pooled(n, pool):
        time.sleep(0.05)

    @pytest.mark.gpu(pinned="80 MiB")
    @pytest.mark.parametrize("n", range(2))
    def test_large(n):
        time.sleep(0.05)

    @pytest.mark.parametrize("n", range(12))
    def test_free(n):
        time.sleep(0.05)
"""


def workers_of(inner, name):
    return {span.worker for span in inner.report.tests if name in span.nodeid}


def times_of(inner, name):
    return sorted((span.start, span.stop) for span in inner.report.tests if name in span.nodeid)


@pytest.fixture
def planned(run_two, tmp_path):
    """Return how to run a suite in which nobody need wait for a lease."""

    def run(source, *args, **files):
        budget = ("--gpuguard-budget=pinned=100MiB", f"--gpuguard-budget-dir={tmp_path}")
        inner = run_two.watched(*budget, *args, test_it=source, **files)
        assert inner.ret == 0, inner.out
        assert not inner.report.waits, inner.out
        return inner

    return run


def test_tests_of_a_session_fixture_go_where_it_is_after_those_that_would_have_no_room(planned):
    inner = planned(POOL)
    assert len(workers_of(inner, "pooled")) == 1
    assert max(stop for _, stop in times_of(inner, "large")) <= min(
        start for start, _ in times_of(inner, "pooled")
    )


def test_a_test_that_has_a_device_alone_has_no_other_beside_it(planned):
    inner = planned(
        """
        import time
        import pytest

        @pytest.mark.gpu(exclusive=True)
        @pytest.mark.parametrize("n", range(3))
        def test_alone(n):
            time.sleep(0.1)

        @pytest.mark.gpu(memory="1 MiB")
        @pytest.mark.parametrize("n", range(8))
        def test_sharing(n):
            time.sleep(0.1)

        @pytest.mark.parametrize("n", range(8))
        def test_free(n):
            time.sleep(0.1)
        """
    )
    everywhere = times_of(inner, "alone") + times_of(inner, "sharing")
    for start, stop in times_of(inner, "alone"):
        assert sum(other < stop and start < end for other, end in everywhere) == 1
    assert len(workers_of(inner, "sharing")) == 2


def test_tests_that_end_the_cuda_context_come_last(planned):
    inner = planned(
        """
        import pytest
        from types import SimpleNamespace

        cuda = SimpleNamespace(close=lambda: None)

        def test_that_closes():
            cuda.close()

        @pytest.mark.gpu(pinned="1 MiB")
        @pytest.mark.parametrize("n", range(8))
        def test_before(n):
            pass
        """
    )
    (worker,) = workers_of(inner, "closes")
    mine = sorted((span.start, span.nodeid) for span in inner.report.tests if span.worker == worker)
    assert len(mine) > 1
    assert "closes" in mine[-1][1]


@pytest.fixture
def ssh(run_two, tmp_path):
    """A host ``elsewhere``: its folder is another one."""
    elsewhere, program = tmp_path / "elsewhere", tmp_path / "bin" / "ssh"
    for folder in (elsewhere, program.parent):
        folder.mkdir()
    program.write_text(
        f'#!/bin/sh\nwhile [ $1 != elsewhere ]; do shift; done\nshift\ncd {elsewhere}\nexec sh -c "$*"\n'
    )
    program.chmod(0o755)
    run_two.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    return f"ssh=elsewhere//python={sys.executable}"


@pytest.mark.parametrize("scheduled", [True, False], ids=["here", "elsewhere"])
def test_workers_of_other_hosts_are_left_to_their_leases_and_that_is_said(run_two, tmp_path, ssh, scheduled):
    workers = f"2*popen//python={sys.executable}" if scheduled else f"2*{ssh}"
    run_two.way = ["-d", "--tx", workers, f"--rsyncdir={run_two.pytester.path}"]
    budget = ("--gpuguard-budget=pinned=100MiB", f"--gpuguard-budget-dir={tmp_path}")
    inner = run_two.watched(*budget, "-v", test_it=POOL.replace("80 MiB", "30 MiB"))
    assert inner.ret == 0, inner.out
    assert sum(outcome == "passed" for outcome in inner.outcomes.values()) == 20
    assert (tmp_path / "elsewhere" / "pyexecnetcache").exists() is not scheduled
    said = "2 of 2 workers are on other hosts: groups and needs of tests are not scheduled"
    assert (said in " ".join(inner.out.split())) is not scheduled
    assert ("scheduling tests via GpuguardScheduling" in inner.out) is scheduled
