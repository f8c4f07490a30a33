"""Runs the tests of `inside/` in the fake lane, each file in one child."""

from __future__ import annotations

from pathlib import Path

import pytest

INSIDE = Path(__file__).parent / "inside"


@pytest.mark.parametrize("name", sorted(path.stem for path in INSIDE.glob("test_*.py")))
def test_file_passes_in_the_fake_lane(fake_lane, name):
    result = fake_lane.pytest(str(INSIDE / f"{name}.py"), "-q", devices=2, timeout=300).check()
    assert result.outcomes.get("passed", 0) > 0
    assert set(result.outcomes) <= {"passed", "skipped"}
