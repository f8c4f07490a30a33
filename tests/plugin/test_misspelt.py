"""What was said to no effect is warned of; what was meant is not."""

from __future__ import annotations

import pytest

SUITE = "def test_it(): pass"


def test_a_variable_that_is_no_switch_is_warned_of_and_the_nearest_is_named(run):
    run.setenv("GPUGUARD_LEAK", "error")
    run.setenv("GPUGUARD_SETTLE", "1s")
    inner = run("--gpuguard", test_it=SUITE)
    assert inner.ret == 0
    said = " ".join(inner.out.split())
    assert "GPUGUARD_LEAK, which is no switch of gpuguard (did you mean GPUGUARD_LEAKS?)" in said
    assert said.count("PytestConfigWarning: gpuguard") == 1


def test_a_resource_that_is_nearly_ours_is_warned_of(run_plain):
    budget = "pined=1GiB,gpus=1GiB,pinned=2GiB,pinned.regions=5,gpu=1GiB,gpu.GPU-5=1GiB,licence=2"
    inner = run_plain("--gpuguard", f"--gpuguard-budget={budget}", test_it=SUITE)
    said = " ".join(inner.out.split())
    assert "the budget limits 'pined' (did you mean pinned?): it is counted as a resource of its own" in said
    assert "the budget limits 'gpus' (did you mean gpu?)" in said
    assert said.count("PytestConfigWarning: gpuguard") == 2


@pytest.mark.parametrize(
    "given", [["--gpuguard-leaks=error"], ["--gpuguard-leaks", "error"], ["--gpuguard-reap"]]
)
def test_switches_without_the_plugin_being_active_are_warned_of(run, given):
    inner = run(*given, test_it=SUITE)
    assert inner.ret == 0
    said = " ".join(inner.out.split())
    assert (
        f"{given[0].partition('=')[0]} has no effect: gpuguard is not active, --gpuguard makes it so" in said
    )
    assert said.count("PytestConfigWarning: gpuguard") == 1
    assert "1 passed, 1 warning in" in said


@pytest.mark.parametrize(
    ("args", "ini"),
    [
        (["--gpuguard", "--gpuguard-leaks=error"], ""),
        (["--no-gpuguard", "--gpuguard-leaks=error"], ""),
        (["--gpuguard-leaks=error"], "gpuguard = true"),
        (["--gpuguard-leaks=error"], "gpuguard = false"),
        ([], "addopts = --gpuguard-leaks=error"),
    ],
)
def test_who_says_whether_it_is_active_is_not_warned(run_plain, args, ini):
    run_plain.pytester.makeini(f"[pytest]\n{ini}\n")
    inner = run_plain(*args, test_it=SUITE)
    assert inner.ret == 0
    assert "PytestConfigWarning" not in inner.out
