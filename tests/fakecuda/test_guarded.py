"""What a guarded run says and does when the driver is slow, refuses, hangs, or has nothing left."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.fakecuda.control import Fault

SHARES = """
    import os, time
    from pathlib import Path
    import numpy as np
    import pytest
    from numba import cuda

    def meet(stage, n):
        # With a lease they cannot meet: then one goes on alone after a while.
        folder = Path(os.environ["TOGETHER"], stage)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(n)).touch()
        end = time.monotonic() + MEET
        while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)

    @pytest.mark.parametrize("n", range(2))
    @pytest.mark.gpu(NEEDS)
    def test_takes_more_than_half(n):
        held = [MAKE]
        meet("one", n)
        try:
            held.append(MAKE)
        finally:
            meet("two", n)
"""
MIB, GIB = 1 << 20, 1 << 30
HALVES = {
    "pinned": ('pinned="6 MiB"', 'cuda.pinned_array(3 << 20, "u1")', {"pinned_bytes": 10 * MIB}),
    # Not touched, so that it costs nothing; for NVML contexts count too.
    "device": (
        'memory="2400 MiB"',
        'cuda.device_array(1200 << 20, "u1")',
        {"device_bytes": 4 * GIB, "poison": 0},
    ),
}


@pytest.mark.parametrize("kind", HALVES)
def test_workers_that_share_a_budget_never_run_out_where_bare_ones_do(guarded, fake_lane, kind):
    needs, make, limit = HALVES[kind]
    source = SHARES.replace("NEEDS", needs).replace("MAKE", make)
    budget = f"--gpuguard-budget=pinned={10 * MIB},gpu={4 * GIB}"
    options = ("-n", "2", budget, "--gpuguard-context=0")
    result, report = guarded(source.replace("MEET", "0.3"), *options, shared=1, **limit)
    assert result.check().outcomes["passed"] == 2
    assert {wait.end for wait in report.waits} <= {"granted"}

    bare = guarded.folder / "bare"
    bare.mkdir()
    (bare / "test_it.py").write_text(textwrap.dedent(source.replace("MEET", "60")))
    env = {"TOGETHER": str(bare / "together")}
    result = fake_lane.pytest(str(bare), "--rootdir", str(bare), "-n", "2", env=env, shared=1, **limit)
    assert result.outcomes["failed"] >= 1
    assert "CUDA_ERROR_OUT_OF_MEMORY" in result.stdout


def test_slow_pinning_gets_a_dossier_that_says_where_it_waits(guarded):
    result, report = guarded(
        """
        def test_pins(pinned_array):
            pinned_array(10)
        """,
        "--gpuguard-stall=1s",
        pin_seconds=4,
    )
    assert result.check().outcomes["passed"] == 1
    (stall,) = (stall for stall in report.stalls if stall.phase == "call")
    assert (stall.nodeid, stall.ended) == ("test_it.py::test_pins", False)
    stacks = "".join(path.read_text() for path in (guarded.folder / "report" / "stacks").iterdir())
    assert "memhostalloc" in stacks


FORKS = """
    import os
    import pytest
    from numba import cuda

    @pytest.mark.gpu(memory="1 MiB", capability=(8, 0), simulator=False)
    def test_forks():
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                os.write(write, b"%d elements" % len(cuda.pinned_array(3)))
            except BaseException as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.wait()
        assert os.read(read, 100).decode() == "EXPECTED"
"""


def test_claims_and_needs_leave_cuda_to_a_forked_child(guarded):
    result, report = guarded(FORKS.replace("EXPECTED", "3 elements"), "--gpuguard-context=0")
    result.check()
    assert report.devices


def test_who_uses_the_device_cannot_fork_any_more(guarded):
    source = FORKS.replace("test_forks()", "test_forks(gpu)").replace(
        "EXPECTED", "CUDA initialized before forking"
    )
    guarded(source, "--gpuguard-context=0")[0].check()


CLAIMS = """
    import pytest

    @pytest.mark.gpu(memory="1 MiB")
    def test_claims(gpu): pass
"""


def test_an_nvml_that_hangs_holds_nobody_up_and_is_said(guarded):
    hang = [Fault("nvmlInitWithFlags", hang=True), Fault("nvmlDeviceGetCount_v2", hang=True)]
    result, _ = guarded(CLAIMS, nvml_faults=hang, hang_limit=600)
    assert result.check().outcomes["passed"] == 1
    assert re.search(r"NVML: no answer within 5 s", " ".join(result.stdout.split()))


@pytest.mark.parametrize("code", [9, 18, 999])
def test_an_nvml_that_fails_is_quoted(guarded, code):
    result, _ = guarded(CLAIMS, nvml_faults=[Fault("nvmlDeviceGetCount_v2", code=code)])
    assert result.check().outcomes["passed"] == 1
    assert "NVML:" in result.stdout


def test_memory_that_is_not_there_fails_the_test_that_wanted_it_alone(guarded):
    result, report = guarded(
        """
        import pytest
        from numba import cuda

        @pytest.mark.parametrize("mib", [1, 9, 2])
        def test_takes(mib):
            assert len(cuda.device_array(mib << 20, "u1"))

        @pytest.mark.parametrize("mib", [1, 9, 2])
        def test_pins(pinned_array, mib):
            assert len(pinned_array(mib << 20, "u1"))
        """,
        device_bytes=8 << 20,
        pinned_bytes=8 << 20,
    )
    assert result.outcomes == {"failed": 2, "passed": 4}
    assert result.stdout.count("Call to cuMemHostAlloc results in CUDA_ERROR_OUT_OF_MEMORY") >= 1
    assert result.stdout.count("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY") >= 1
    assert report.groups == []


def test_page_locked_regions_that_are_not_there_are_an_error_and_come_back(guarded):
    result, report = guarded(
        """
        import pytest

        @pytest.mark.parametrize("n", [2, 3, 2])
        def test_pins(pinned_array, n):
            for _ in range(n):
                pinned_array(10)
        """,
        pinned_regions=2,
    )
    assert result.outcomes == {"failed": 1, "passed": 2}
    assert "Call to cuMemHostAlloc results in CUDA_ERROR_OUT_OF_MEMORY" in result.stdout
    assert report.groups == []


def test_a_driver_that_only_poses_as_one_is_no_device_that_was_required(guarded):
    result, report = guarded("def test_uses(gpu): gpu.synchronize()", "--gpuguard-require=gpu")
    assert result.returncode == 1
    assert result.outcomes == {"passed": 1}
    said = " ".join(result.stdout.split())
    assert "gpuguard: mode fake, required: gpu (1 x FakeCUDA device 0)" in said
    assert "GPG406: require=gpu, and no test used a real device (mode fake, 1 x FakeCUDA device 0)" in said
    assert [worker.mode for worker in report.workers] == ["fake"]
