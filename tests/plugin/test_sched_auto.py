"""``-n auto`` in real runs on a machine that seems to have three processors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FAKES = str(Path(__file__).parents[1] / "helpers" / "nvml")

MACHINE = """
    import os
    import psutil
    from pytest_gpuguard.budget import limits

    psutil.cpu_count = lambda logical=True: 3
    limits.usable_processors = lambda: float(os.environ.get("USABLE", "3"))
"""
COUNTS = """
    import os

    def test_it():
        assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == os.environ["EXPECTED"]
"""


@pytest.fixture
def sized(run_plain):
    """Return how to run with ``-n auto`` where so many workers are expected; returns what the header says."""

    def run(workers, *args, active=True, **files):
        run_plain.way = ["-p", "machine", "-n", "auto"]
        run_plain.setenv("EXPECTED", str(workers))
        start = run_plain.watched if active else run_plain
        inner = start(*args, **({"machine": MACHINE, "test_it": COUNTS} | files))
        assert inner.ret == 0, inner.out + inner.err
        return next((line for line in inner.out.splitlines() if " for -n auto" in line), "")

    return run


def test_as_many_as_xdist_counts_where_there_is_room(sized):
    assert sized(3) == "gpuguard: 3 workers for -n auto, as xdist counts: each has room"
    assert sized(3, active=False) == ""


def test_the_control_group_s_processors_count(sized, monkeypatch):
    monkeypatch.setenv("USABLE", "1.5")
    line = "gpuguard: 1 worker for -n auto, not 3: this process may use 1.5 processors"
    assert sized(1) == line


def test_who_gives_a_number_is_right(sized, monkeypatch):
    conftest = """
        import pytest

        @pytest.hookimpl(optionalhook=True)
        def pytest_xdist_auto_num_workers():
            return 2
    """
    monkeypatch.setenv("USABLE", "1")
    assert sized(2, conftest=conftest) == "gpuguard: 2 workers for -n auto, as conftest says"
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "2")
    says = "gpuguard: 2 workers for -n auto, as PYTEST_XDIST_AUTO_NUM_WORKERS says"
    assert sized(2, conftest="") == says


def test_devices_that_let_one_process_in_have_one_worker_each(sized, monkeypatch, tmp_path):
    (tmp_path / "devices.json").write_text(
        json.dumps([[f"GPU-{name}", "X", 1 << 30, 1 << 30, (9, 0), 3] for name in "ab"])
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([FAKES, os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("DEVICES", str(tmp_path / "devices.json"))
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "0")
    why = "2 devices in mode EXCLUSIVE_PROCESS take one process each"
    assert sized(2) == f"gpuguard: 2 workers for -n auto, not 3: {why}"


def test_tests_that_exclude_each_other_keep_no_third_worker_busy(sized, tmp_path):
    source = COUNTS + (
        "\n    import pytest, time"
        "\n    @pytest.mark.gpu(pinned='60 MiB')"
        "\n    @pytest.mark.parametrize('n', range(3))"
        "\n    def test_heavy(n): time.sleep(0.3)"
    )
    budget = ("--gpuguard-budget=pinned=100MiB", f"--gpuguard-budget-dir={tmp_path}")
    assert "as xdist counts" in sized(3, *budget, test_it=source)
    line = "gpuguard: 1 worker for -n auto, not 3: more would wait: 3 tests share pinned in runs before"
    assert sized(1, *budget) == line
    assert "as xdist counts" in sized(3, *budget, "--cache-clear")


def test_a_switch_that_is_wrong_is_a_usage_error_here_too(run_plain):
    run_plain.way = ["-n", "auto"]
    inner = run_plain.watched("--gpuguard-budget=much", test_it="def test_it(): pass")
    assert inner.ret == pytest.ExitCode.USAGE_ERROR
    assert "GPG501" in inner.err
    assert "Traceback" not in inner.out + inner.err
