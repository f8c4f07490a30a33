"""``gpuguard budget``: limits of a pool shown and set while runs go on."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from pytest_gpuguard.budget import Budget, BudgetTooLarge, change_limits, set_limits, standing_limits
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.budget import Limit, Limits
from pytest_gpuguard.cli.exits import Exit

MIB = 1 << 20


def gpuguard(root, verb, *arguments):
    return CliRunner().invoke(main, ["budget", verb, "--budget-dir", str(root), *arguments])


def words(text):
    return [line.split() for line in text.splitlines()]


def test_nobody_takes_part(tmp_path):
    result = gpuguard(tmp_path, "show")
    assert result.exit_code == Exit.FINE
    assert "nobody takes part now; a run that sets nothing begins with" in result.output
    assert list(tmp_path.iterdir()) == []


def test_limits_of_runs_that_differ(tmp_path):
    one, two = Budget({"pinned": 100 * MIB}, tmp_path), Budget({"pinned": 60 * MIB, "x": 5}, tmp_path)
    with one.acquire({"pinned": 1}), two.acquire({"pinned": 1}):
        shown = gpuguard(tmp_path, "show")
        assert ["pinned", "60.0", "MiB", "-", "60.0", "MiB,", "100.0", "MiB"] in words(shown.output)
        record = msgspec.json.decode(gpuguard(tmp_path, "show", "--json").stdout, type=Limits)
    assert record.limits == [Limit("pinned", 60 * MIB, None, [60 * MIB, 100 * MIB]), Limit("x", 5, None, [5])]
    assert record.defaults.keys() == {"pinned", "pinned.regions"}


def test_a_running_pool_obeys_what_is_set_and_others_limits_stay(tmp_path):
    budget = Budget({"pinned": 100 * MIB, "pinned.regions": 10}, tmp_path)
    with budget.acquire({"pinned": 50 * MIB}):
        assert gpuguard(tmp_path, "set", "pinned.regions=3").exit_code == Exit.FINE
        result = gpuguard(tmp_path, "set", "pinned=40MiB")
        assert result.exit_code == Exit.FINE
        assert ["pinned", "40.0", "MiB", "40.0", "MiB", "100.0", "MiB"] in words(result.output)
        assert ["pinned.regions", "3", "3", "10"] in words(result.output)
        assert "pinned: 10.0 MiB more than that are held" in result.stderr
        with pytest.raises(BudgetTooLarge, match=r"limits\.json"):
            budget.acquire({"pinned": 41 * MIB})
        gpuguard(tmp_path, "set", "pinned=none")
        assert budget.snapshot().limits == {"pinned": 100 * MIB, "pinned.regions": 3}


def test_a_limit_above_what_runs_are_configured_with_is_said_to_do_nothing(tmp_path):
    with Budget({"pinned": 100 * MIB}, tmp_path).acquire({"pinned": 1}):
        result = gpuguard(tmp_path, "set", "pinned=1GiB")
    assert "a run is configured with 100.0 MiB, and the smallest limit counts" in result.stderr


def test_gpu_means_each_device(tmp_path):
    limits = {"gpu.gpu-a": 100, "gpu.gpu-b": 100, "gpu.gpu-a.slots": 64, "pinned": 100}
    with Budget(limits, tmp_path).acquire({"pinned": 1}):
        gpuguard(tmp_path, "set", "gpu=50")
        set_to = {limit.name: limit.set_to for limit in standing_limits(tmp_path)}
    assert set_to == {"gpu.gpu-a": 50, "gpu.gpu-b": 50, "gpu.gpu-a.slots": None, "pinned": None}


@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        (["pinned"], "is not NAME=AMOUNT"),
        (["=none"], "is not NAME=AMOUNT"),
        (["pinned=10%"], "percentage"),
        (["pinned=1GiB,x=2"], "one at a time"),
        (["Ä=1"], "a resource is named by"),
        ([f"pinned={1 << 48}"], "must be 0 to"),
        (["gpu=1GiB"], "no run"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_set_is_usage_and_changes_nothing(tmp_path, amounts, said):
    set_limits({"pinned": 7}, tmp_path)
    result = gpuguard(tmp_path, "set", *amounts)
    assert result.exit_code == Exit.USAGE
    assert said in " ".join(result.output.split())
    assert [(limit.name, limit.set_to) for limit in standing_limits(tmp_path)] == [("pinned", 7)]


def test_two_who_change_limits_see_each_others(tmp_path):
    change_limits({"a": 1}, tmp_path)
    change_limits({"b": 2}, tmp_path)
    change_limits({"a": None}, tmp_path)
    assert {limit.name: limit.set_to for limit in standing_limits(tmp_path)} == {"b": 2}
