"""The fake NVML, through the real `nvidia-ml-py`."""

from __future__ import annotations

import pytest

pytest.importorskip("pynvml", reason="no nvidia-ml-py: extra 'nvidia'")

from tests.fakecuda.control import Fault
from tests.fakecuda.waiting import until

SURVEY = """
    import pynvml as n
    n.nvmlInit()
    for index in range(n.nvmlDeviceGetCount()):
        gpu = n.nvmlDeviceGetHandleByIndex(index)
        print(n.nvmlDeviceGetName(gpu), n.nvmlDeviceGetUUID(gpu)[:12], n.nvmlDeviceGetComputeMode(gpu),
              n.nvmlDeviceGetMigMode(gpu)[0], n.nvmlDeviceGetPciInfo(gpu).busId, sep="|")
        for place in range(n.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            try:
                part = n.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place)
            except n.NVMLError_NotFound:
                break
            parent = n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
            print("", n.nvmlDeviceGetUUID(part)[:12], n.nvmlDeviceGetIndex(parent), sep="|")
    n.nvmlShutdown()
"""


def test_gpus_modes_and_mig_instances_are_told_whatever_is_visible(fake_lane):
    result = fake_lane.script(SURVEY, devices=2, modes=[0, 3], mig=[2, 0], env={"CUDA_VISIBLE_DEVICES": "0"})
    assert result.check().stdout.splitlines() == [
        "FakeCUDA device 0|GPU-fa4ecd00|0|1|00000000:01:00.0",
        "|MIG-fa4ecd00|0",
        "|MIG-fa4ecd00|0",
        "FakeCUDA device 1|GPU-fa4ecd01|3|0|00000000:02:00.0",
    ]


def test_cuda_and_nvml_mean_the_same_device_by_a_uuid(fake_lane):
    result = fake_lane.script(
        """
        import pynvml as n
        from numba import cuda
        n.nvmlInit()
        print(n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByUUID(cuda.gpus[0].uuid)), cuda.gpus[0].name)
        """,
        devices=3,
        env={"CUDA_VISIBLE_DEVICES": "2"},
    )
    assert result.check().stdout == "2 FakeCUDA device 2\n"


def test_a_mig_instance_is_a_device_of_its_own(fake_lane):
    result = fake_lane.script(
        """
        import os, pynvml as n
        n.nvmlInit()
        gpu = n.nvmlDeviceGetHandleByIndex(0)
        second = n.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 1)
        os.environ["CUDA_VISIBLE_DEVICES"] = n.nvmlDeviceGetUUID(second)
        from numba import cuda
        print(len(cuda.gpus), cuda.gpus[0].uuid[-2:], os.environ["CUDA_VISIBLE_DEVICES"][-2:])
        """,
        mig=[2],
    )
    assert result.check().stdout == "1 02 02\n"


def test_the_memory_and_processes_of_live_cuda_programs_are_seen(fake_lane):
    holder = fake_lane.start_script(
        """
        import time
        from numba import cuda
        with cuda.gpus[1]:
            array = cuda.device_array(100 << 20, "u1")
            print("ready", flush=True)
            time.sleep(600)
        """,
        devices=2,
    )
    control = holder.control()
    until(lambda: control.device_used[1:] == (100 << 20,))
    look = """
        import pynvml as n
        n.nvmlInit()
        for index in range(2):
            gpu = n.nvmlDeviceGetHandleByIndex(index)
            found = n.nvmlDeviceGetComputeRunningProcesses(gpu)
            used = n.nvmlDeviceGetMemoryInfo(gpu).used
            print(used >> 20, *((p.pid, p.usedGpuMemory >> 20) for p in found))
    """
    assert fake_lane.script(look, devices=2).check().stdout == f"0\n400 ({holder.pid}, 400)\n"
    holder.kill()
    assert fake_lane.script(look, devices=2).check().stdout == "0\n0\n"


def test_a_call_that_hangs_can_be_released_from_outside(fake_lane):
    child = fake_lane.start_script(
        "import pynvml as n; n.nvmlInit(); print(n.nvmlDeviceGetCount())",
        nvml_faults=[Fault("nvmlDeviceGetCount_v2", hang=True)],
    )
    control = child.control(kind="nvml")
    until(lambda: control.hanging == 1)
    assert child.alive()
    control.release()
    assert child.wait(20).check().stdout == "1\n"


def test_errors_surface_as_nvml_s_own(fake_lane):
    result = fake_lane.script(
        """
        import pynvml as n
        try:
            n.nvmlInit()
        except n.NVMLError_DriverNotLoaded as error:
            print(error)
        """,
        nvml_faults=[Fault("nvmlInitWithFlags", code=9)],
    )
    assert result.check().stdout == "Driver Not Loaded\n"


def test_without_a_driver_the_library_is_not_found(none_lane):
    result = none_lane.script(
        """
        import pynvml as n
        try:
            n.nvmlInit()
        except n.NVMLError_LibraryNotFound:
            print("not found")
        """
    )
    assert result.check().stdout == "not found\n"
