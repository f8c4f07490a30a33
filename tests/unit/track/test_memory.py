"""Growth of host memory, as it is asked for after each test."""

from __future__ import annotations

import pytest

from pytest_gpuguard.track.memory import MIB, MemoryProbe
from pytest_gpuguard.track.scope import Scene


@pytest.fixture
def probe():
    probe = MemoryProbe(Scene())
    if probe.unable is not None:
        pytest.skip(probe.unable)
    undo = probe.install()
    yield probe
    undo()


def test_growth_in_two_tests_in_a_row_is_told_twice(probe, monkeypatch):
    resident = 0
    monkeypatch.setattr(probe, "_resident", lambda: resident)
    probe.sweep()
    (pulse,) = probe.pulses
    quiet = pulse()
    assert pulse() == quiet
    resident += 64 * MIB
    first = pulse()
    assert first != quiet
    probe.sweep()
    resident += 64 * MIB
    assert pulse() != first
