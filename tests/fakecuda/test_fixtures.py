"""The fixtures on what only a driver does: modes, refusals, queues, errors in streams."""

from __future__ import annotations

import pytest

from tests.fakecuda.control import Fault
from tests.fakecuda.waiting import until


@pytest.fixture
def suite(fake_lane, tmp_path):
    """Run the tests of a source text in the fake lane."""

    def run(source, *args, **settings):
        folder = tmp_path / "suite"
        folder.mkdir(exist_ok=True)
        (folder / "test_it.py").write_text(source)
        return fake_lane.pytest(str(folder), "--rootdir", str(folder), "-rs", *args, **settings)

    return run


USES = "def test_uses(gpu): assert gpu.mode == 'fake'\n"


def test_a_prohibited_device_is_no_device(suite):
    result = suite(USES, modes=[2]).check()
    assert result.outcomes == {"skipped": 1}
    assert "FakeCUDA device 0 (GPU-fa4ecd00-" in result.stdout
    assert "has compute mode PROHIBITED" in result.stdout


def test_a_device_that_is_taken_is_an_error_that_says_so(fake_lane, suite):
    holder = fake_lane.start_script(
        "import time; from numba import cuda; cuda.current_context(); time.sleep(600)", modes=[3]
    )
    control = holder.control()
    until(lambda: control.contexts == (1,))
    result = suite(USES, modes=[3])
    assert result.outcomes == {"errors": 1}
    assert "GPG401: FakeCUDA device 0 (GPU-fa4ecd00-" in result.stdout
    assert "its compute mode is EXCLUSIVE_PROCESS" in result.stdout


def test_no_device_at_all_is_said(suite):
    result = suite(USES, devices=0).check()
    assert result.outcomes == {"skipped": 1}
    assert "numba finds no device" in result.stdout


DROPS = """
import numpy as np
from numba import cuda

def test_drops():
    for _ in range(3):
        cuda.pinned_array(1 << 20, np.uint8)

def test_needs_what_waits_in_the_queue(pinned_array):
    assert len(pinned_array(2 << 20, np.uint8)) == 2 << 20
"""


def test_page_locked_memory_that_waits_in_numba_s_queue_is_found(suite):
    suite(DROPS, "-p", "no:randomly", pinned_bytes=4 << 20).check()


def test_page_locked_memory_that_is_not_there_is_an_error(suite):
    result = suite(DROPS, pinned_bytes=1 << 20)
    assert "CUDA_ERROR_OUT_OF_MEMORY" in result.stdout
    assert result.outcomes["failed"] == 2


FREED = """
import pytest
from tests.fakecuda.control import attach

def test_uses(pinned_array):
    pinned_array(100, "u1")
    assert attach().counter("pinned").bytes == 100

def test_sees_nothing(gpu):
    assert attach().counter("pinned").bytes == 0
"""


@pytest.mark.parametrize("active", ["--gpuguard", "--no-gpuguard"])
def test_page_locked_arrays_are_really_freed_at_the_end(suite, active):
    assert suite(FREED, active).check().outcomes == {"passed": 2}


BREAKS = """
import numpy as np
import pytest
from numba import cuda

@pytest.fixture
def source():
    return cuda.to_device(np.ones(3))

def test_breaks(source, gpu_stream, pinned_array):
    source.copy_to_host(pinned_array(3), stream=gpu_stream)
"""


def test_what_fails_in_a_stream_is_told_by_the_test_that_used_it(suite):
    result = suite(BREAKS, faults=[Fault("copy", code=719, first=2)])
    assert result.outcomes["errors"] == 1
    assert "ERROR at teardown of test_breaks" in result.stdout
    assert "LAUNCH_FAILED" in result.stdout


MANAGED = """
import pytest
from numba import cuda
from numba.cuda.cudadrv.driver import NumbaCUDAMemoryManager

class Pool(NumbaCUDAMemoryManager):
    def get_memory_info(self):
        if self.initialised:
            raise NotImplementedError
        return super().get_memory_info()
    initialised = False

def test_free_bytes_of_a_pool(request):
    cuda.set_memory_manager(Pool)
    cuda.close()
    gpu = request.getfixturevalue("gpu")
    Pool.initialised = True
    with pytest.raises(NotImplementedError):
        cuda.current_context().get_memory_info()
    assert 0 < gpu.free_bytes() <= gpu.total_bytes
    with request.getfixturevalue("gpu_memory_limit")("1 MiB"):
        assert gpu.free_bytes() == 1 << 20
"""


def test_a_memory_manager_that_cannot_tell_is_asked_around(suite):
    assert suite(MANAGED).check().outcomes == {"passed": 1}


OWN = """
import pytest

@pytest.fixture
def gpu():
    return "mine"

def test_mine(gpu, gpu_stream, gpu_event, pinned_array, gpu_memory_limit):
    assert gpu == "mine"
    gpu_event.record(gpu_stream)
"""


def test_a_suite_s_own_fixture_of_that_name_does_no_harm(suite):
    assert suite(OWN).check().outcomes == {"passed": 1}
