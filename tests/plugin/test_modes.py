"""What tests ran on: skips for want of a device are counted with their evidence, and can fail the run."""

from __future__ import annotations

import re

import pytest

SUITE = """
    import pytest

    def test_plain(): pass

    @pytest.mark.gpu(simulator=False)
    @pytest.mark.parametrize("n", range(2))
    def test_real(n): pass

    @pytest.mark.skip(reason="slow")
    def test_slow(): pass

    @pytest.mark.skipif(True, reason="no CUDA GPU here")
    def test_theirs(): pass

    @pytest.mark.xfail(reason="needs a GPU")
    def test_known():
        assert False
"""
PLAIN = "def test_plain(): pass"


def one_line(inner):
    return " ".join(inner.out.split())


def test_skips_are_counted_with_their_evidence(run):
    inner = run.watched(test_it=SUITE)
    assert inner.ret == 0
    (header,) = re.findall(r"gpuguard: mode .*", inner.out.partition("collected")[0].partition("created:")[0])
    assert header == "gpuguard: mode sim (NUMBA_ENABLE_CUDASIM is set)"
    assert (
        "gpuguard: mode sim: 3 of 6 tests skipped for want of a device: needs a real device "
        "(simulator=False), and numba runs its simulator (NUMBA_ENABLE_CUDASIM) (2); no CUDA GPU here (1)"
    ) in one_line(inner)


def test_without_such_a_skip_there_is_no_line(run):
    inner = run.watched(test_it=PLAIN)
    assert inner.ret == 0
    assert "want of a device" not in inner.out


def test_a_required_device_fails_the_run(run):
    inner = run.watched("--gpuguard-require=gpu", test_it=SUITE)
    assert inner.ret == 1
    said = one_line(inner)
    assert "GPG406: require=gpu, and 3 of 6 tests skipped for want of a device" in said
    assert (
        "GPG406: require=gpu, and no test used a real device (mode none, NUMBA_ENABLE_CUDASIM is set)" in said
    )
    assert "gpuguard: mode sim, required: gpu" in said
    assert inner.report.run.exit_status == 1
    assert len(inner.report.failed_by) == 2
    assert any(re.search("GPG406", line) for line in inner.section)


def test_a_run_in_which_nothing_was_skipped_fails_too_if_none_used_a_device(run):
    inner = run.watched(
        "--gpuguard-require=gpu",
        test_it="""
            def test_uses(gpu):
                gpu.stream()
        """,
    )
    assert inner.ret == 1
    assert "GPG406: require=gpu, and no test used a real device (mode sim, NUMBA" in one_line(inner)
    assert "want of a device" not in inner.out


def test_a_failed_run_keeps_its_exit_code(run_plain):
    inner = run_plain.watched("--gpuguard-require=gpu", "-k", "nothing", test_it=PLAIN)
    assert inner.ret == 5


LIBRARY = """
    import cupy
    def test_it(): pass
"""


def test_a_module_that_needs_a_library_of_devices_is_skipped_where_there_is_neither(run):
    inner = run.watched(test_it=PLAIN, test_cupy=LIBRARY)
    assert inner.ret == 0, inner.out
    assert inner.outcomes == {"test_plain": "passed"}
    assert (
        "gpuguard: mode sim: 0 of 1 test and 1 module skipped for want of a device: needs a device, "
        "and cupy, which is not here either: mode sim, NUMBA_ENABLE_CUDASIM is set (1)"
    ) in one_line(inner)


@pytest.mark.parametrize("source", ["import nowhere_at_all", "import cupy_of_ours", "1 / 0"])
def test_any_other_module_that_cannot_be_collected_is_an_error(run_plain, source):
    inner = run_plain.watched(test_it=PLAIN, test_other=source)
    assert inner.ret == 2


def test_an_inactive_plugin_leaves_collection_alone(run_plain):
    assert run_plain(test_it=PLAIN, test_cupy=LIBRARY).ret == 2


GROUPS = """
    import pytest

    @pytest.mark.xdist_group("one")
    @pytest.mark.parametrize("n", range(3))
    def test_grouped(n): pass

    def test_alone(): pass
"""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--gpuguard-scheduler=off"], "not under load"),
        (["--gpuguard-scheduler=off", "--dist", "worksteal"], "not under worksteal"),
        ([], None),
        (["--dist", "loadgroup"], None),
    ],
)
def test_groups_that_nothing_heeds_are_told(run_two, args, said):
    inner = run_two.watched(*args, test_it=GROUPS)
    assert inner.ret == 0
    text = "gpuguard: 3 tests have marks xdist_group, and nothing keeps them together: "
    assert (text in one_line(inner)) == (said is not None)
    assert said is None or said in one_line(inner)
    assert one_line(inner).count("tests have marks") <= 1


def test_without_groups_nothing_is_told(run_two):
    assert "xdist_group" not in run_two.watched("--gpuguard-scheduler=off", test_it=PLAIN).out
