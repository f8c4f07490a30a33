"""The tests of `tests/contract` in other lanes than the simulator, in which they run themselves."""

from __future__ import annotations

CONTRACT = "tests/contract"


def test_the_contract_holds_on_the_fake_driver(fake_lane):
    result = fake_lane.pytest(CONTRACT, "-q", "-rs", env={"LANE": "fake"}).check()
    assert result.outcomes["passed"] >= 45
    assert result.outcomes.keys() <= {"passed", "skipped"}


def test_it_holds_when_nothing_is_done_before_it_is_waited_for(fake_lane):
    files = [f"{CONTRACT}/test_{name}.py" for name in ("gpu", "pinned", "solver")]
    result = fake_lane.pytest(*files, "-q", env={"LANE": "fake"}, deferred=1).check()
    assert result.outcomes["passed"] >= 42


def test_without_a_driver_everything_is_skipped_with_the_evidence(none_lane):
    result = none_lane.pytest(CONTRACT, "-q", "-rs").check()
    assert result.outcomes.keys() == {"skipped"}
    assert "numba finds no device, and its simulator is off: CUDA" in result.stdout
