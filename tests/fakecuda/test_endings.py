"""A driver call that never returns, with the GIL or without: the test is named, the run goes on."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.fakecuda.control import Fault

SUITE = """
    import ctypes
    import pytest
    from numba import cuda

    @pytest.mark.parametrize("n", range(3))
    def test_before(n, gpu): pass

    def test_hangs(gpu):
        library = LOADER("libcuda.so.1")
        stream = cuda.stream()
        library.cuStreamSynchronize(ctypes.c_void_p(int(stream.handle)))

    @pytest.mark.parametrize("n", range(3))
    def test_after(n, gpu): pass
"""


@pytest.fixture
def hanging(fake_lane, tmp_path):
    """Run a suite with one call that hangs for longer than anybody waits."""
    folder = tmp_path / "suite"
    folder.mkdir()

    def run(source, *args):
        (folder / "test_it.py").write_text(textwrap.dedent(source))
        options = (
            "-p",
            "tests.helpers.hasty",
            "--gpuguard",
            "--gpuguard-stall=1s",
            "--gpuguard-stall-end=2s",
            f"--gpuguard-budget-dir={tmp_path}",
        )
        settings = {"faults": [Fault("cuStreamSynchronize", hang=True)], "hang_limit": 600}
        return fake_lane.pytest(str(folder), "--rootdir", str(folder), *options, *args, **settings)

    return run


@pytest.mark.parametrize("loader", ["ctypes.CDLL", "ctypes.PyDLL"], ids=["without the GIL", "with the GIL"])
def test_a_worker_whose_call_hangs_is_ended_and_the_rest_runs(hanging, loader):
    result = hanging(SUITE.replace("LOADER", loader), "-n", "2")
    assert result.returncode == 1
    assert (result.outcomes["failed"], result.outcomes["passed"]) == (1, 6)
    assert re.search(r"GPG60[12]: .*test_hangs", " ".join(result.stdout.split()))
    assert "in test_hangs" in result.stdout


def test_without_xdist_it_is_said_what_did_not_run(hanging):
    result = hanging(SUITE.replace("LOADER", "ctypes.CDLL"), "-p", "no:xdist")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "GPG601: test_it.py::test_hangs made no progress" in " ".join(told.split())
    assert "test_after[0]" in told
