"""Marks that ask for a real device or a capability skip with the evidence, active or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_gpuguard import Budget

FAKES = str(Path(__file__).parents[1] / "helpers" / "nvml")

MARKED = """
    import pytest
    from pytest_gpuguard import gpu_demand

    @pytest.mark.gpu(simulator=False, memory="1 MiB")
    def test_real(): pass

    @pytest.mark.gpu(capability=(8, 0))
    def test_capable(): pass

    @pytest.mark.gpu(memory="1 MiB")
    def test_any(): pass

    @pytest.fixture
    @gpu_demand(simulator=False)
    def device(): raise AssertionError("no fixture is set up for a test that cannot run")

    def test_by_fixture(device): pass

    def test_by_value(request): request.getfixturevalue("device")
"""


@pytest.fixture(params=["--gpuguard", "--no-gpuguard"])
def active(request):
    return request.param


@pytest.fixture
def budget(monkeypatch, tmp_path):
    return f"--gpuguard-budget-dir={tmp_path / 'budget'}"


def test_the_simulator_is_no_device_for_who_says_so(run, active, budget):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run(active, budget, test_it=MARKED)
    assert inner.outcomes == {
        "test_real": "setup skipped",
        "test_capable": "passed",
        "test_any": "passed",
        "test_by_fixture": "setup skipped",
        "test_by_value": "skipped",
    }
    assert "needs a real device (simulator=False), and numba runs its simulator" in inner.text("test_real")
    assert "fixture device needs a real device" in inner.text("test_by_value")


def test_without_a_driver_the_reason_names_what_was_asked(run_plain, active, budget):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "0")
    inner = run_plain(active, budget, "-k", "real or capable or any", test_it=MARKED)
    assert inner.outcomes == {
        "test_real": "setup skipped",
        "test_capable": "setup skipped",
        "test_any": "passed",
    }
    assert "needs a real device, and there is none: NVML" in inner.text("test_capable")


def test_the_capability_of_the_device_counts(run_plain, active, budget, tmp_path):
    path = tmp_path / "devices.json"
    path.write_text(json.dumps([["GPU-aaaa0000", "Old", 1 << 30, 1 << 30, [7, 5]]]))
    run_plain.setenv("PYTHONPATH", os.pathsep.join([FAKES, os.environ["PYTHONPATH"]]))
    run_plain.setenv("DEVICES", str(path))
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "0")
    inner = run_plain(active, budget, "--gpuguard-context=1MiB", "-k", "real or capable", test_it=MARKED)
    assert inner.outcomes == {"test_real": "passed", "test_capable": "setup skipped"}
    assert "needs compute capability 8.0, and Old (GPU-aaaa0000) has 7.5" in inner.text("test_capable")


def test_a_test_that_is_skipped_so_waits_for_no_lease(run_plain, budget, tmp_path):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    source = MARKED.replace('simulator=False, memory="1 MiB"', 'simulator=False, pinned="1 MiB"')
    (tmp_path / "budget").mkdir()
    with Budget({"pinned": 1 << 20}, tmp_path / "budget") as other, other.acquire({"pinned": 1 << 20}):
        inner = run_plain("--gpuguard", budget, "--gpuguard-wait=60s", "-k", "test_real", test_it=source)
    assert inner.outcomes == {"test_real": "setup skipped"}
    assert inner.report.waits == []


def test_a_wrong_mark_is_an_error_without_the_plugin_being_active(run):
    inner = run(
        "--no-gpuguard",
        test_it="""
            import pytest

            @pytest.mark.gpu(memry=3)
            def test_wrong(): pass
        """,
    )
    assert inner.outcomes == {"test_wrong": "setup failed"}
    assert "GPG501: test_it.py::test_wrong: mark gpu: unknown keyword 'memry'" in inner.text("test_wrong")
