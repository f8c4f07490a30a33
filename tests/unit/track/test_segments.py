"""Segments in the folder that the whole host shares."""

import uuid
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from pytest_gpuguard.track.scope import Scene
from pytest_gpuguard.track.segments import SegmentProbe


@pytest.fixture
def probe():
    probe = SegmentProbe(Scene())
    if probe.unable is not None:
        pytest.skip(probe.unable)
    undo = probe.install()
    yield probe
    undo()


def test_what_another_process_has_put_there_asks_for_no_judgement(probe):
    pulse = probe.pulses[0]
    before = pulse()
    theirs = Path("/dev/shm", f"theirs-{uuid.uuid4().hex}")
    theirs.write_bytes(b"theirs")
    try:
        assert pulse() != before
        assert not probe.moved()
    finally:
        theirs.unlink()
    assert not probe.moved()


def test_what_is_made_here_does(probe):
    segment = SharedMemory(create=True, size=16)
    try:
        assert probe.moved()
    finally:
        segment.close()
        segment.unlink()
