"""Growth of host memory, as it is asked for after each test."""

from __future__ import annotations

import mmap
import sys

import pytest

from pytest_gpuguard.track import memory
from pytest_gpuguard.track.memory import MIB, MemoryProbe
from pytest_gpuguard.track.scope import Owner, Scene


@pytest.fixture
def probe():
    scene = Scene()
    scene.begin(Owner("function", "test_it.py::test_one"), 0.0)
    probe = MemoryProbe(scene)
    if probe.unable is not None:
        pytest.skip(probe.unable)
    undo = probe.install()
    yield probe
    undo()


def test_growth_in_two_tests_in_a_row_is_told_twice(probe, monkeypatch, tmp_path):
    statm = tmp_path / "statm"
    statm.write_text("999 0 1 1 0 1 0\n")
    with statm.open("rb") as file:
        monkeypatch.setattr(probe._statm, "fd", file.fileno())
        probe.sweep()
        (pulse,) = probe.pulses
        quiet = pulse()
        for pages in ("1", "1024", "1024"):
            statm.write_text(f"999 {pages} 1 1 0 1 0\n")
            assert pulse() == quiet
        statm.write_text("999 16384 1 1 0 1 0\n")
        first = pulse()
        assert first != quiet
        assert pulse() != first
        probe.sweep()
        statm.write_text("999 32768 1 1 0 1 0\n")
        assert pulse() not in {quiet, first}


@pytest.fixture
def looks(monkeypatch):
    """Return the sizes that regions had where they were looked at, which costs milliseconds."""
    taken = []
    look = memory._regions

    def regions():
        taken.append(look())
        return taken[-1]

    monkeypatch.setattr(memory, "_regions", regions)
    return taken


def _filled():
    block = mmap.mmap(-1, 12 * MIB)
    block.write(b"x" * len(block))
    return block


def _until_moved(probe, kept):
    """Make objects until more memory is used: there may be room for some in what was used before."""
    for _ in range(100):
        kept += [[] for _ in range(20_000)]
        if probe.moved():
            return
    pytest.fail(f"{len(kept)} lists take no memory")


def test_regions_are_not_looked_at_while_python_s_own_objects_explain_what_has_come(probe, looks):
    kept = []
    for _ in range(2):
        _until_moved(probe, kept)
        probe.sweep()
        assert not probe.moved()
    assert not looks
    # Only for so long: nobody knows how much of it there is in regions.
    for _ in range(6):
        _until_moved(probe, kept)
        probe.sweep()
    assert 1 <= len(looks) <= 3


def test_what_has_come_beside_python_s_objects_is_looked_at_and_told(probe, looks):
    with _filled():
        probe.sweep()
    assert looks
    (suspect,) = probe._found
    assert suspect.nbytes > 8 * MIB
    assert suspect.sources["regions"] > 8 * MIB


@pytest.mark.parametrize(("asked", "told"), [(True, 1), (False, 0)])
def test_growth_is_put_down_to_what_was_loaded_since_one_asked_last(probe, monkeypatch, asked, told):
    for number in range(30):
        monkeypatch.setitem(sys.modules, f"loaded_{number}", sys)
    if asked:
        assert not probe.moved()
    with _filled():
        probe.sweep()
    assert len(probe._found) == told


@pytest.mark.parametrize(
    ("grown", "told"),
    [
        ({}, False),
        ({"malloc": 64 * MIB}, True),
        ({"regions": 64 * MIB}, True),
        ({"locked": 5 * MIB}, True),
        ({"malloc": 7 * MIB, "regions": 7 * MIB, "locked": 3 * MIB}, False),
        ({"regions": 64 * MIB, "python": 60 * MIB}, False),
    ],
)
def test_growth_that_no_second_source_confirms_is_not_told(probe, monkeypatch, grown, told):
    before = memory._levels()
    after = before._replace(
        resident=before.resident + 64 * MIB,
        **{name: getattr(before, name) + by for name, by in grown.items()},
    )
    probe._rebase(before)
    monkeypatch.setattr(memory, "_levels", lambda *_: after)
    monkeypatch.setattr(probe, "_resident", lambda: probe._pages + 64 * MIB)
    probe.sweep()
    assert bool(probe._found) == told
