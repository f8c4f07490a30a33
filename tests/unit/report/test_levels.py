"""What all workers held together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gpuguard.report.gathered import Gathered
from pytest_gpuguard.report.levels import peaks, resources, total
from pytest_gpuguard.report.model import Levels


def test_the_total_is_the_sum_at_each_moment():
    levels = [Levels("gw0", "pinned", [0.0, 2.0], [10, 0]), Levels("gw1", "pinned", [1.0, 3.0], [5, 0])]
    assert total(levels, "pinned") == [(0.0, 10), (1.0, 15), (2.0, 5), (3.0, 0)]
    assert peaks(levels) == [("pinned", 15, 1.0)]


def test_what_is_given_back_and_taken_at_one_moment_is_not_added_up():
    levels = [Levels("gw0", "pinned", [0.0, 1.0], [10, 0]), Levels("gw1", "pinned", [1.0], [10])]
    assert peaks(levels) == [("pinned", 10, 0.0)]


def test_resources_stand_apart():
    levels = [Levels("gw0", "pinned", [0.0], [1]), Levels("gw0", "gpu.x", [0.0], [7])]
    assert resources(levels) == ["gpu.x", "pinned"]
    assert total(levels, "gpu.x") == [(0.0, 7)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(0, 9)), min_size=1))
def test_the_peak_is_that_of_a_naive_sum(events):
    gathered = Gathered()
    for worker, at, amount in sorted(events, key=lambda event: event[1]):
        gathered.add({"levels": [[worker, "pinned", float(at), amount]]})
    held, most = {}, 0
    for at in range(51):
        held |= {worker: amount for worker, when, amount in events if when == at}
        most = max(most, sum(held.values()))
    (peak,) = peaks(gathered.levels())
    assert peak.amount == most
