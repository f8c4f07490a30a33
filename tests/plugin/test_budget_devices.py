"""Devices in the budget, and leases that are worth what is really free: on fakes of the libraries alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_gpuguard import Budget

GIB = 1 << 30
FAKES = str(Path(__file__).parents[1] / "helpers" / "nvml")
A, B = "GPU-aaaa0000", "GPU-bbbb0000"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BUDGET", str(tmp_path / "budget"))
    return tmp_path / "budget"


@pytest.fixture
def devices(run_plain, tmp_path):
    """Two devices of 10 GiB, by a module that poses as nvidia-ml-py; returns how to set what is free."""
    path = tmp_path / "devices.json"

    def free(first, second):
        path.write_text(json.dumps([[A, "X", 10 * GIB, first], [B, "X", 10 * GIB, second]]))

    free(10 * GIB, 10 * GIB)
    run_plain.setenv("PYTHONPATH", os.pathsep.join([FAKES, os.environ["PYTHONPATH"]]))
    run_plain.setenv("DEVICES", str(path))
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "0")
    return free


HELD = """
    import os
    import pytest
    from pytest_gpuguard import Budget

    GIB = 1 << 30

    def held():
        holders = Budget({}, os.environ["BUDGET"]).snapshot().holders
        return {name: amount for h in holders for name, amount in h.amounts.items() if amount}
"""

CLAIMS = (
    HELD
    + """
    @pytest.mark.gpu(memory="2 GiB")
    def test_shares_the_first():
        assert held() == {"gpu.gpu-bbbb0000": 2 * GIB + GIB // 2, "gpu.gpu-bbbb0000.slots": 1}

    def test_the_context_stays():
        assert held() == {"gpu.gpu-bbbb0000": GIB // 2}

    @pytest.mark.gpu(memory="1 GiB", count=2, exclusive=True)
    def test_both_alone():
        assert held() == {
            "gpu.gpu-bbbb0000": GIB + GIB // 2,
            "gpu.gpu-bbbb0000.slots": 64,
            "gpu.gpu-aaaa0000": GIB + GIB // 2,
            "gpu.gpu-aaaa0000.slots": 64,
        }

    @pytest.mark.gpu(memory=1, exclusive=True)
    def test_a_block_inside_of_an_exclusive_test(gpu_lease):
        with gpu_lease(pinned=5):
            assert held()["gpu.gpu-bbbb0000.slots"] == 64

    @pytest.mark.gpu(count=3)
    def test_more_devices_than_there_are(): pass

    @pytest.mark.gpu(memory="9 GiB")
    def test_no_room_beside_the_context(): pass
"""
)


def test_devices_are_budgeted_by_uuid_in_the_order_that_cuda_sees(run_plain, devices, folder):
    run_plain.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    run_plain.way = ["-p", "no:xdist"]
    inner = run_plain.watched(f"--gpuguard-budget-dir={folder}", test_it=CLAIMS)
    assert inner.outcomes == {
        "test_shares_the_first": "passed",
        "test_the_context_stays": "passed",
        "test_both_alone": "passed",
        "test_a_block_inside_of_an_exclusive_test": "passed",
        "test_more_devices_than_there_are": "setup skipped",
        "test_no_room_beside_the_context": "setup skipped",
    }, inner.out
    assert "of which there is no budget" in inner.text("test_more_devices_than_there_are")
    assert Budget({}, folder).snapshot().holders == ()


def test_a_context_that_is_missing_room_is_said(run_plain, devices, folder):
    source = 'import pytest\n@pytest.mark.gpu(memory="8 GiB")\ndef test_it(): pass'
    given = ("--gpuguard-budget=gpu=8GiB", f"--gpuguard-budget-dir={folder}")
    inner = run_plain.watched(*given, test_it=source)
    assert inner.outcomes == {"test_it": "setup failed"}
    assert "asked for 8.50 GiB gpu.gpu-aaaa0000; the whole budget is 8.00 GiB" in inner.text("test_it")
    assert "512.0 MiB of it for the CUDA context of this worker" in inner.text("test_it")
    assert run_plain.watched(*given, "--gpuguard-context=0").outcomes == {"test_it": "passed"}


def test_what_others_took_is_waited_for_a_while_and_then_said_once(run_plain, devices, folder):
    """Outside of the budget somebody frees the first device after a second, the second one never."""
    devices(0, 0)
    inner = run_plain.watched(
        f"--gpuguard-budget-dir={folder}",
        test_it="""
            import json, os, threading, time
            from pathlib import Path
            import pytest

            @pytest.fixture(scope="module", autouse=True)
            def later():
                path = Path(os.environ["DEVICES"])
                devices = json.loads(path.read_text())
                devices[0][3] = 10 << 30
                timer = threading.Timer(1, lambda: path.write_text(json.dumps(devices)))
                timer.start()
                yield
                timer.join()

            def test_starts_the_timer():
                pass

            @pytest.mark.gpu(memory="1 GiB")
            def test_freed_later():
                assert json.loads(Path(os.environ["DEVICES"]).read_text())[0][3]

            @pytest.mark.gpu(memory="1 GiB", count=2)
            def test_never_free(): pass

            @pytest.mark.gpu(memory="1 GiB", count=2)
            def test_not_looked_at_again(): pass
        """,
    )
    assert set(inner.outcomes.values()) == {"passed"}
    (note,) = inner.report.notes
    assert note.startswith(f"{B} had 0 B free for a lease of 1.00 GiB")
    spans = {test.nodeid.partition("::")[2]: test for test in inner.report.tests}
    between = spans["test_not_looked_at_again"].start - spans["test_never_free"].stop
    assert between < 4  # and not five seconds once more


def test_without_any_device_it_is_said_once_that_memory_is_not_budgeted(run_plain, folder):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "0")
    run_plain.setenv("PYTHONPATH", os.pathsep.join([FAKES, os.environ["PYTHONPATH"]]))
    inner = run_plain.watched(
        f"--gpuguard-budget-dir={folder}",
        test_it=HELD
        + """
    @pytest.mark.gpu(memory="2 GiB", pinned=3)
    @pytest.mark.parametrize("n", [1, 2])
    def test_it(n):
        assert held() == {"pinned": 3, "pinned.regions": 1}
    """,
    )
    assert set(inner.outcomes.values()) == {"passed"}, inner.out
    said = "demands for device memory are not budgeted: NVML: Driver Not Loaded"
    assert inner.report.notes == [said]
    assert inner.out.count(said) == 1


def test_in_the_simulator_one_device_stands_for_all(run_plain, folder):
    inner = run_plain.watched(
        "--gpuguard-budget=gpu=3GiB",
        f"--gpuguard-budget-dir={folder}",
        test_it=HELD
        + """
    @pytest.mark.gpu(memory="2 GiB", count=2)
    def test_it():
        assert held() == {"gpu.sim": 2 * GIB, "gpu.sim.slots": 1}

    @pytest.mark.gpu(memory="4 GiB")
    def test_oversize(): pass
    """,
    )
    assert inner.outcomes == {"test_it": "passed", "test_oversize": "setup failed"}


TRIMMED = """
    import sys
    from types import SimpleNamespace
    import pytest

    TOLD = []

    def tell(name):
        return lambda: TOLD.append(name)

    class Pending:
        def __init__(self, name): self.clear = tell(name)

    context = SimpleNamespace(
        memory_manager=SimpleNamespace(deallocations=Pending("memory queue")),
        deallocations=Pending("other queue"),
    )
    FAKES = {
        "cupy": SimpleNamespace(
            get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=tell("cupy device")),
            get_default_pinned_memory_pool=lambda: SimpleNamespace(free_all_blocks=tell("cupy pinned")),
        ),
        "torch": SimpleNamespace(
            cuda=SimpleNamespace(is_initialized=lambda: True, empty_cache=tell("torch device")),
            accelerator=SimpleNamespace(memory=SimpleNamespace(empty_host_cache=tell("torch pinned"))),
        ),
        "numba.cuda.cudadrv.driver": SimpleNamespace(
            driver=SimpleNamespace(is_initialized=True, initialization_error=None)
        ),
        "numba.cuda.cudadrv.devices": SimpleNamespace(
            gpus=SimpleNamespace(
                lst=[SimpleNamespace(primary_context=context), SimpleNamespace(primary_context=None)]
            )
        ),
    }
    ALL = ["memory queue", "other queue", "cupy device", "cupy pinned"]
    ALL += ["torch device", "torch pinned", "hook"]

    def test_unmarked_loads_them():
        assert not set(FAKES) & set(sys.modules)
        sys.modules.update(FAKES)
        assert TOLD == []

    @pytest.mark.gpu(pinned=1)
    def test_before_the_lease_begins():
        assert TOLD == ALL

    def test_and_before_it_is_given_back():
        assert TOLD == ALL * 2

    @pytest.mark.gpu(pinned=1)
    def test_a_library_that_fails_is_nobodys_failure():
        FAKES["torch"].cuda.empty_cache = lambda: 1 / 0
"""


def test_kept_memory_is_given_back_before_a_lease_begins_and_before_it_ends(run_plain, folder):
    inner = run_plain.watched(
        f"--gpuguard-budget-dir={folder}",
        conftest="""
            import sys

            def pytest_gpuguard_trim(config):
                if "test_it" in sys.modules:
                    told = sys.modules["test_it"].TOLD
                    if told:
                        told.append("hook")
        """,
        test_it=TRIMMED,
    )
    assert set(inner.outcomes.values()) == {"passed"}, inner.out
    assert inner.report.notes == ["kept memory could not be given back: ZeroDivisionError: division by zero"]
    assert Budget({}, folder).snapshot().holders == ()
