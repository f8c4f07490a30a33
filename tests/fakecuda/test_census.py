"""Devices asked of CUDA itself, in a child, where NVML's library for Python is missing."""

from __future__ import annotations

from tests.fakecuda.control import Fault

ASK = """
    import os, sys
    sys.modules["pynvml"] = None
    from pytest_gpuguard.devices.discovery import discover, free_bytes
    found = discover(patience=float(os.environ.get("PATIENCE", 60)))
    for device in found.devices:
        print(device.uuid, device.name, device.total, device.capability, sep="|")
    print(found.evidence)
    print("numba" in sys.modules, free_bytes("GPU-x"))
"""


def test_devices_are_told_by_the_driver(fake_lane):
    result = fake_lane.script(ASK, devices=3, device_bytes=123 << 20, env={"CUDA_VISIBLE_DEVICES": "2,0"})
    first, second, evidence, rest = result.check().stdout.splitlines()
    assert first == f"GPU-fa4ecd02-0000-0000-0000-000000000000|FakeCUDA device 2|{123 << 20}|(9, 0)"
    assert second.startswith("GPU-fa4ecd00-")
    assert evidence == ""
    assert rest == "False None"


def test_the_asking_process_does_not_start_cuda(fake_lane):
    result = fake_lane.script(
        ASK
        + """
    from numba import cuda
    if os.fork() == 0:
        print(len(cuda.gpus), flush=True)
        os._exit(0)
    os.wait()
"""
    )
    assert result.check().stdout.splitlines()[-1] == "1"


def test_a_driver_that_fails_is_quoted(fake_lane):
    result = fake_lane.script(ASK, faults=[Fault("cuInit", code=999)]).check()
    assert "cuInit of the CUDA driver failed with error 999 (for NVML to be asked" in result.stdout


def test_a_driver_that_hangs_is_given_up(fake_lane):
    result = fake_lane.script(ASK, faults=[Fault("cuInit", hang=True)], env={"PATIENCE": "2"}).check()
    assert "timed out after 2.0 seconds" in result.stdout


def test_without_a_driver_that_is_said(none_lane):
    result = none_lane.script(ASK).check()
    assert "no CUDA driver: libcuda.so.1 is not to be found (for NVML" in result.stdout


def test_uuids_are_those_of_numba_and_nvml(fake_lane):
    result = fake_lane.script(
        """
        from numba import cuda
        from pytest_gpuguard.devices.census import census
        from pytest_gpuguard.devices.discovery import discover
        told, found = census(60), discover().devices
        print([t[0] for t in told] == [d.uuid for d in found] == [g.uuid for g in cuda.gpus])
        print(told[0][3] == found[0].capability == tuple(cuda.gpus[0].compute_capability))
        """,
        devices=2,
    )
    assert result.check().stdout == "True\nTrue\n"
