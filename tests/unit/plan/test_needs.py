"""What devices cannot do is said with the evidence."""

from __future__ import annotations

import pytest

from pytest_gpuguard.devices.discovery import Device, Discovery
from pytest_gpuguard.plan.demand import Demand
from pytest_gpuguard.plan.needs import unmet

OLD, NEW = Device("GPU-a", "Old", 1, (7, 5)), Device("GPU-b", "New", 1, (12, 0))
SILENT = Device("GPU-c", "Silent", 1)
NOTHING = Discovery(evidence="NVML: no driver")


def _never():
    raise AssertionError("devices do not matter here")


def test_who_asks_for_nothing_special_needs_no_device():
    assert unmet(Demand(memory=5), False, _never) is None


@pytest.mark.parametrize("capability", [None, (9, 0)])
def test_the_simulator_falls_short_only_where_it_is_refused(capability):
    assert unmet(Demand(capability=capability), True, _never) is None
    assert "NUMBA_ENABLE_CUDASIM" in unmet(Demand(simulator=False, capability=capability), True, _never)


@pytest.mark.parametrize("demand", [Demand(simulator=False), Demand(capability=(3, 0))])
def test_without_any_device_the_evidence_is_given(demand):
    assert unmet(demand, False, lambda: NOTHING) == (
        "needs a real device, and there is none: NVML: no driver"
    )


@pytest.mark.parametrize(
    ("devices", "count", "wanted", "who"),
    [
        ([OLD], 1, (7, 5), None),
        ([OLD], 1, (8, 0), "Old (GPU-a) has 7.5"),
        ([NEW], 1, (9, 0), None),
        ([NEW, OLD], 1, (8, 0), None),
        ([NEW, OLD], 2, (8, 0), "Old (GPU-a) has 7.5"),
        ([SILENT], 1, (8, 0), None),
    ],
)
def test_each_device_that_is_used_must_be_capable(devices, count, wanted, who):
    reason = unmet(Demand(count=count, capability=wanted), False, lambda: Discovery(tuple(devices)))
    assert reason == (who and f"needs compute capability 8.0, and {who}")
