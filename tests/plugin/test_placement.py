"""Each worker's devices, in its environment before anything is imported; mostly on a fake nvidia-ml-py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.inner import Runner

FAKES = str(Path(__file__).parents[1] / "helpers" / "nvml")
A, B = "GPU-aaaa0000", "GPU-bbbb0000"

# What a conftest sees when it is imported.
SEES = """
    import json, os
    from pathlib import Path

    names = ("CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH", "CUPY_CACHE_DIR")
    seen = {name: os.environ.get(name) for name in names}
    Path("seen-" + os.environ.get("PYTEST_XDIST_WORKER", "main")).write_text(json.dumps(seen))
"""
PASSES = "def test_it(): pass"


@pytest.fixture
def start(pytester, monkeypatch, tmp_path):
    """Return how to run on two devices."""

    def run(*args, mode=0, **files):
        runner = Runner(pytester, monkeypatch, [])
        (tmp_path / "devices.json").write_text(json.dumps([[u, "X", 1, 1, (9, 0), mode] for u in (A, B)]))
        runner.setenv("PYTHONPATH", os.pathsep.join([FAKES, os.environ["PYTHONPATH"]]))
        runner.setenv("DEVICES", str(tmp_path / "devices.json"))
        runner.setenv("NUMBA_ENABLE_CUDASIM", os.environ.get("SIMULATED", "0"))
        return runner.watched(*args, **({"conftest": SEES} | files))

    return run


def seen(inner):
    return {
        path.name.removeprefix("seen-"): json.loads(path.read_text()) for path in inner.folder.glob("seen-*")
    }


def lists(inner):
    return {worker: variables["CUDA_VISIBLE_DEVICES"] for worker, variables in seen(inner).items()}


CRASHING = """
    import os, signal, time
    from pathlib import Path
    import pytest
    from pytest_gpuguard import Budget

    def test_crashes():
        Path("died").write_text(os.environ["PYTEST_XDIST_WORKER"])
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.parametrize("n", range(12))
    def test_it(n):
        time.sleep(0.05)

    @pytest.mark.gpu(count=2)
    @pytest.mark.parametrize("n", range(4))
    def test_two(n):
        holders = Budget({}, os.environ["BUDGET"]).snapshot().holders
        held = {name for holder in holders for name, amount in holder.amounts.items() if amount}
        assert {"gpu.gpu-aaaa0000.slots", "gpu.gpu-bbbb0000.slots"} <= held
"""


@pytest.mark.parametrize("how", ["auto", "isolate"])
def test_four_workers_two_devices_and_the_caller_s_order_also_after_a_crash(
    start, monkeypatch, tmp_path, how
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{B},{A}")
    monkeypatch.setenv("BUDGET", str(tmp_path / "budget"))
    switches = (f"--gpuguard-devices={how}", f"--gpuguard-budget-dir={tmp_path / 'budget'}")
    inner = start("-n4", *switches, test_it=CRASHING)
    mine, other = (f"{B},{A}", f"{A},{B}") if how == "auto" else (B, A)
    assert [lists(inner)[f"gw{n}"] for n in range(4)] == [mine, other, mine, other]
    died = (inner.folder / "died").read_text()
    assert seen(inner)["gw4"] == seen(inner)[died]
    caches = {seen(inner)[f"gw{n}"]["CUDA_CACHE_PATH"] for n in range(4)}
    assert len(caches) == 4
    assert all(str(inner.folder / ".pytest_cache") in path for path in caches)
    others = "behind it" if how == "auto" else "hidden"
    assert f"4 workers on 2 device(s), each its own first, others {others}: X {B}, X {A}" in inner.out
    two = {outcome for name, outcome in inner.outcomes.items() if "two" in name}
    assert two == ({"passed"} if how == "auto" else {"setup skipped"}), inner.out
    assert sum(outcome == "passed" for outcome in inner.outcomes.values()) == (16 if how == "auto" else 12)


def test_others_are_hidden_and_given_caches_are_split(start, monkeypatch):
    monkeypatch.setenv("CUDA_CACHE_PATH", "/mine")
    inner = start("-n2", "--gpuguard-devices=isolate", test_it=PASSES)
    assert lists(inner) == {"main": None, "gw0": A, "gw1": B}
    assert seen(inner)["gw1"]["CUDA_CACHE_PATH"] == "/mine/worker-1"


def test_a_list_indexes_the_caller_s(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    inner = start("-n2", "--gpuguard-devices=0", test_it=PASSES)
    assert lists(inner) == {"main": "1,0", "gw0": B, "gw1": B}


def test_who_places_by_hand_is_left_alone(start):
    inner = start("-d", "--tx", "popen//env:CUDA_VISIBLE_DEVICES=GPU-mine", "--tx", "popen", test_it=PASSES)
    assert lists(inner) == {"main": None, "gw0": "GPU-mine", "gw1": f"{A},{B}"}


def test_none_leaves_what_the_caller_sees(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    inner = start("-n2", "--gpuguard-devices=none", test_it=PASSES)
    assert set(lists(inner).values()) == {"1"}


def test_the_simulator_has_no_devices_to_place(start, monkeypatch):
    monkeypatch.setenv("SIMULATED", "1")
    inner = start("-n2", test_it=PASSES)
    assert lists(inner) == {"main": None, "gw0": None, "gw1": None}


def test_exclusive_devices_take_one_worker_each(start):
    inner = start("-n3", mode=3, test_it=PASSES)
    assert inner.ret == pytest.ExitCode.USAGE_ERROR
    assert f"GPG402: 3 workers for 2 device(s): 2 of them would share X ({A})" in inner.out + inner.err
    assert "INTERNALERROR" not in inner.out + inner.err


@pytest.mark.parametrize("way", [["-p", "no:xdist"], ["-n0"]], ids=["plain", "n0"])
def test_without_workers_a_list_is_for_this_process(start, way):
    test = f"import os\ndef test_it(): assert os.environ['CUDA_VISIBLE_DEVICES'] == '{B}'"
    assert start(*way, "--gpuguard-devices=1", test_it=test).ret == 0
    inner = start(*way, test_it="import os\ndef test_it(): assert 'CUDA_VISIBLE_DEVICES' not in os.environ")
    assert inner.ret == 0


def test_what_comes_too_late_is_said(start):
    conftest = """
        import sys, types
        driver = types.SimpleNamespace(is_initialized=True, initialization_error="posing")
        sys.modules["numba.cuda.cudadrv.driver"] = types.SimpleNamespace(driver=driver)
    """
    inner = start("-p", "no:xdist", "--gpuguard-devices=1", conftest=conftest, test_it=PASSES)
    assert "devices=1 is not in force: numba has started CUDA before" in inner.out


def test_a_list_that_names_no_device_is_a_usage_error(start):
    for wrong in ("7", "GPU-cccc"):
        inner = start("-n2", f"--gpuguard-devices={wrong}", test_it=PASSES)
        assert inner.ret == pytest.ExitCode.USAGE_ERROR
        assert (
            f"GPG501: devices: {wrong!r} names 0 of the devices that the caller has" in inner.out + inner.err
        )
    assert "GPG501" in start("--gpuguard-devices=all", test_it=PASSES).err


def test_workers_on_the_fake_driver_see_their_own(fake_lane, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import os, time\n"
        "import pytest\n"
        "from numba import cuda\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_it(n):\n"
        "    time.sleep(0.2)\n"
        "    own = int(os.environ['PYTEST_XDIST_WORKER'][2:]) % 2\n"
        "    assert [gpu.name[-1] for gpu in cuda.gpus] == [str(own), str(1 - own)]\n"
        "    assert cuda.current_context().device.uuid == os.environ['CUDA_VISIBLE_DEVICES'].split(',')[0]\n"
    )
    args = ["-n2", "--gpuguard", "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")]
    fake_lane.pytest(*args, devices=2).check()


def test_each_worker_has_a_mig_part_of_its_own_on_the_fake_driver(fake_lane, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import os, time\n"
        "import pytest\n"
        "from numba import cuda\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_it(n):\n"
        "    time.sleep(0.2)\n"
        "    own = int(os.environ['PYTEST_XDIST_WORKER'][2:])\n"
        "    assert [gpu.uuid[-1] for gpu in cuda.gpus] == [str(own + 1)]\n"
    )
    args = ["-n2", "--gpuguard", "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")]
    fake_lane.pytest(*args, devices=1, mig=[2]).check()


def test_a_driver_that_does_not_answer_holds_up_nobody_for_long(fake_lane, tmp_path):
    from tests.fakecuda.control import Fault

    (tmp_path / "test_it.py").write_text(
        "import os\ndef test_it(): assert 'CUDA_VISIBLE_DEVICES' not in os.environ\n"
    )
    args = ["-n2", "--gpuguard", "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")]
    hangs = [Fault("nvmlDeviceGetCount_v2", hang=True)]
    fake_lane.pytest(*args, devices=1, nvml_faults=hangs, hang_limit=600).check()


def test_a_cache_that_cannot_be_written_is_none(start):
    inner = start("-n", "2", "-o", "cache_dir=test_it.py/none", test_it=PASSES)
    assert inner.ret == 0, inner.out + inner.err
    assert seen(inner)["gw0"]["CUDA_CACHE_PATH"] is None
