"""The lanes themselves: what is in force in a child, and that every child ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakecuda.control import Fault
from tests.fakecuda.lanes import LaneTimeoutError
from tests.fakecuda.waiting import until

WHO = """
    from numba import cuda
    found = cuda.is_available()
    print(found, cuda.cuda_error(), [gpu.name for gpu in cuda.gpus] if found else [])
"""


def test_a_script_in_the_fake_lane_finds_the_fake_device(fake_lane):
    assert fake_lane.script(WHO).check().stdout == "True None ['FakeCUDA device 0']\n"


def test_a_script_in_the_lane_without_driver_finds_none_and_is_told_why(none_lane):
    told = none_lane.script(WHO).check().stdout
    assert told.startswith("False")
    assert "CUDA driver library cannot be found" in told


def test_a_pytest_run_in_a_lane_is_counted(fake_lane, tmp_path):
    path = tmp_path / "test_some.py"
    path.write_text(
        "import pytest\n"
        "from numba import cuda\n"
        "def test_works(): assert cuda.gpus[0].name == 'FakeCUDA device 0'\n"
        "def test_fails(): assert cuda.pinned_array(3).sum() == 7\n"
        "def test_skips(): pytest.skip('why')\n"
    )
    result = fake_lane.pytest(str(path), "--rootdir", str(tmp_path), "-p", "no:gpuguard")
    assert result.returncode == 1
    assert result.outcomes == {"passed": 1, "failed": 1, "skipped": 1}
    with pytest.raises(AssertionError, match="test_fails"):
        result.check()


def test_a_child_that_does_not_end_is_killed_with_all_it_started(fake_lane):
    child = fake_lane.start_script(
        """
        import subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(grandchild.pid, flush=True)
        time.sleep(600)
        """
    )
    with pytest.raises(
        LaneTimeoutError, match=r"did not end within 3 s and was killed; it wrote\n[0-9]+"
    ) as late:
        child.wait(3)
    grandchild = int(str(late.value).splitlines()[1])
    until(lambda: _gone(grandchild))
    assert not child.alive()


def _gone(pid):
    # In a container without an init process a killed orphan stays as a zombie.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_settings_and_faults_reach_the_child_before_its_first_call(fake_lane):
    result = fake_lane.script(
        """
        from numba import cuda
        print(cuda.current_context().get_memory_info().total, end=" ")
        try:
            cuda.pinned_array(8)
        except cuda.cudadrv.driver.CudaAPIError as error:
            print(int(error.code))
        """,
        faults=[Fault("cuMemHostAlloc", code=2, last=1)],
        device_bytes=123 << 20,
    )
    assert result.check().stdout.split() == [str(123 << 20), "2"]


def test_a_misspelt_setting_ends_the_child(fake_lane):
    result = fake_lane.script(WHO, env={"FAKECUDA_SETTINGS": "pined_bytes=3"})
    assert result.returncode == 70
    assert "no setting 'pined_bytes'" in result.stderr


def test_a_sticky_error_fails_every_later_call_of_the_process(fake_lane):
    result = fake_lane.script(
        """
        import numpy as np
        from numba import cuda
        from numba.cuda.cudadrv.driver import CudaAPIError
        event, array, before = cuda.event(), cuda.to_device(np.ones(3)), cuda.current_context()
        pin = lambda: cuda.pinned_array(3)
        for call in (event.query, event.query, array.copy_to_host, cuda.synchronize, pin):
            try:
                call()
                print("fine", end=" ")
            except CudaAPIError as error:
                print(int(error.code), end=" ")
        """,
        faults=[Fault("cuEventQuery", code=700, first=2, last=2, sticky=True)],
    )
    assert result.check().stdout.split() == ["fine", "700", "700", "700", "700"]
    assert [control.sticky for control in fake_lane.controls()] == [700]


def test_a_kernel_s_fault_is_seen_by_a_later_call_and_stays(fake_lane):
    result = fake_lane.script(
        """
        import numpy as np
        from numba import cuda
        from numba.cuda.cudadrv.driver import CudaAPIError
        stream, source, target = cuda.stream(), cuda.to_device(np.ones(3)), cuda.pinned_array(3)
        source.copy_to_host(target, stream=stream)
        for _ in range(2):
            try:
                stream.synchronize()
            except CudaAPIError as error:
                print(int(error.code), end=" ")
        """,
        faults=[Fault("copy", code=719, first=2)],  # the first is that of to_device
    )
    assert result.check().stdout.split() == ["719", "719"]


def test_a_forked_child_of_an_initialised_parent_is_refused(fake_lane):
    result = fake_lane.script(
        """
        import os
        from numba import cuda
        cuda.current_context()
        if os.fork() == 0:
            try:
                cuda.pinned_array(3)
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.wait()
        print(len(cuda.pinned_array(3)))
        """
    )
    assert result.check().stdout.splitlines() == ["CudaDriverError CUDA initialized before forking", "3"]


def test_a_child_forked_before_the_first_call_is_fine_and_counted_apart(fake_lane):
    result = fake_lane.script(
        """
        import os
        from numba import cuda
        pid = os.fork()
        array = cuda.pinned_array(1000 if pid else 3000, "u1")
        os.write(1, b"%d\\n" % len(array))  # in one piece, whatever is buffered
        if pid:
            os.wait()
        else:
            os._exit(0)
        """
    )
    assert sorted(result.check().stdout.split()) == ["1000", "3000"]
    assert sorted(control.counter("pinned").peak for control in fake_lane.controls()) == [1000, 3000]


def test_the_counts_of_a_killed_process_can_still_be_read(fake_lane):
    child = fake_lane.start_script(
        """
        import time
        from numba import cuda
        array = cuda.pinned_array(4321, "u1")
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    control = child.control()
    until(lambda: control.counter("pinned").live == 1)
    child.kill()
    (left,) = fake_lane.controls()
    assert left.counter("pinned") == (1, 1, 4321, 4321)
    assert left.calls("cuMemHostAlloc")[-1].result == 0


HANG = """
    import ctypes, sys, threading, time
    from numba import cuda
    cuda.current_context()
    handle = int(cuda.stream().handle)
    ticks = []
    def tick():
        while True:
            ticks.append(time.monotonic())
            time.sleep(0.01)
    threading.Thread(target=tick, daemon=True).start()
    library = (ctypes.PyDLL if sys.argv[1:] == ["held"] else ctypes.CDLL)("libcuda.so.1")
    start = time.monotonic()
    library.cuStreamSynchronize(ctypes.c_void_p(handle))
    end = time.monotonic()
    print(sum(start + 0.05 < at < end - 0.05 for at in ticks))
"""


@pytest.mark.parametrize("gil", ["held", "released"])
def test_a_call_that_hangs_with_or_without_the_gil_is_released_from_outside(fake_lane, tmp_path, gil):
    (tmp_path / "hang.py").write_text("import textwrap; exec(textwrap.dedent(" + repr(HANG) + "))")
    child = fake_lane.start(
        "python", str(tmp_path / "hang.py"), gil, faults=[Fault("cuStreamSynchronize", hang=True)]
    )
    control = child.control()
    until(lambda: control.hanging == 1)
    time.sleep(0.3)
    assert child.alive()
    control.release()
    ticks = int(child.wait(20).check().stdout)
    assert ticks == 0 if gil == "held" else ticks > 3


def test_numba_s_calls_hang_without_the_gil(fake_lane):
    result = fake_lane.script(
        """
        import threading, time
        from numba import cuda
        event, ticks = cuda.event(), []
        def tick():
            while True:
                ticks.append(time.monotonic())
                time.sleep(0.01)
        threading.Thread(target=tick, daemon=True).start()
        time.sleep(0.1)
        before = len(ticks)
        event.synchronize()
        print(len(ticks) - before)
        """,
        faults=[Fault("cuEventSynchronize", hang=True)],
        hang_limit=0.4,
    )
    assert int(result.check().stdout) > 5


def test_beside_a_real_driver_the_library_will_not_start(fake_lane, tmp_path):
    (tmp_path / "nvidiactl").touch()
    result = fake_lane.script(WHO, env={"FAKECUDA_REAL_SIGNS": str(tmp_path / "nvidiactl")})
    assert result.check().stdout.startswith("False")
    assert "SYSTEM_DRIVER_MISMATCH" in result.stdout
    assert "nvidiactl exists" in result.stderr


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, "0 1 2"),
        ("2,0", "2 0"),
        ("", ""),
        ("-1", ""),
        ("0,2,-1,1", "0 2"),
        ("1gpu2", "1"),
        ("1,1", ""),
        ("GPU-fa4ecd02", "2"),
        ("GPU-fa4ecd", ""),
        ("7", ""),
    ],
)
def test_visible_devices_are_read_as_the_driver_does(fake_lane, visible, expected):
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    code = """
        import ctypes
        library = ctypes.CDLL("libcuda.so.1")
        number, name = ctypes.c_int(), ctypes.create_string_buffer(64)
        if library.cuInit(0) == 0:
            library.cuDeviceGetCount(ctypes.byref(number))
        for device in range(number.value):
            library.cuDeviceGetName(name, 64, device)
            print(name.value.decode()[-1], end=" ")
    """
    assert fake_lane.script(code, env=env, devices=3).check().stdout.strip() == expected


def test_a_device_in_exclusive_mode_takes_one_process_and_a_prohibited_one_none(fake_lane):
    code = """
        import time
        from numba import cuda
        for gpu in cuda.gpus:
            try:
                with gpu:
                    print("taken", end=" ", flush=True)
            except Exception as error:
                print("UNAVAILABLE" in str(error), end=" ", flush=True)
        time.sleep(HOLD)
    """
    first = fake_lane.start_script(code.replace("HOLD", "600"), devices=3, modes=[3, 2, 0])
    control = first.control()
    until(lambda: control.contexts == (1, 0, 1))
    second = fake_lane.script(code.replace("HOLD", "0"), devices=3, modes=[3, 2, 0])
    assert second.check().stdout.split() == ["True", "True", "taken"]
    first.kill()
    third = fake_lane.script(code.replace("HOLD", "0"), devices=3, modes=[3, 2, 0])
    assert third.check().stdout.split() == ["taken", "True", "taken"]


TAKES = """
    import sys, time
    import numpy as np
    from numba import cuda
    from numba.cuda.cudadrv.driver import CudaAPIError
    try:
        array = MAKE
        print("taken", cuda.current_context().get_memory_info().free >> 20, flush=True)
    except CudaAPIError as error:
        print(int(error.code), flush=True)
    time.sleep(HOLD)
"""


@pytest.mark.parametrize(
    ("make", "kind", "limit"),
    [
        ("cuda.pinned_array(3 << 20, np.uint8)", "pinned", {"pinned_bytes": 5 << 20}),
        ("[cuda.pinned_array(8) for _ in range(3)]", "pinned", {"pinned_regions": 5}),
        ("cuda.device_array(3 << 20, np.uint8)", "device", {"device_bytes": 5 << 20}),
        ("cuda.managed_array(3 << 20, np.uint8)", "managed", {"device_bytes": 5 << 20}),
    ],
)
def test_limits_of_the_host_count_what_others_hold_until_they_end(fake_lane, make, kind, limit):
    code = TAKES.replace("MAKE", make)
    first = fake_lane.start_script(code.replace("HOLD", "600"), shared=1, **limit)
    control = first.control()
    until(lambda: control.counter(kind).live)
    if "regions" in str(limit):
        until(lambda: control.counter(kind).live == 3)
    assert fake_lane.script(code.replace("HOLD", "0"), shared=1, **limit).check().stdout.split()[0] == "2"
    assert "taken" in fake_lane.script(code.replace("HOLD", "0"), **limit).check().stdout
    first.kill()
    assert "taken" in fake_lane.script(code.replace("HOLD", "0"), shared=1, **limit).check().stdout


def test_what_is_free_on_a_shared_device_is_told_to_all(fake_lane):
    code = TAKES.replace("MAKE", "cuda.device_array(3 << 20, np.uint8)")
    limit = {"shared": 1, "device_bytes": 10 << 20, "devices": 2}
    first = fake_lane.start_script(code.replace("HOLD", "600"), **limit)
    control = first.control()
    until(lambda: control.counter("device").live)
    assert fake_lane.script(code.replace("HOLD", "0"), **limit).check().stdout.split() == ["taken", "4"]
    second = fake_lane.script(code.replace("HOLD", "0"), env={"CUDA_VISIBLE_DEVICES": "1"}, **limit)
    assert second.check().stdout.split() == ["taken", "7"]


def test_many_processes_never_take_more_than_there_is(fake_lane):
    code = """
        import time
        import numpy as np
        from numba import cuda
        from numba.cuda.cudadrv.driver import CudaAPIError
        held = []
        for _ in range(20):
            try:
                held.append(cuda.pinned_array(1 << 10, np.uint8))
            except CudaAPIError:
                pass
        print(len(held), flush=True)
        time.sleep(600)
    """
    children = [fake_lane.start_script(code, shared=1, pinned_bytes=30 << 10) for _ in range(4)]
    controls = [child.control() for child in children]
    until(lambda: sum(len(control.calls("cuMemHostAlloc")) for control in controls) == 80)
    assert sum(control.counter("pinned").live for control in controls) == 30
