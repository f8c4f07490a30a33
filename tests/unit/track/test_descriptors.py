"""What is open is found although a number alone would not tell."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_gpuguard.track.descriptors import DescriptorProbe
from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.targets import Targets


def test_one_that_is_closed_does_not_hide_one_that_was_opened():
    scene = Scene()
    scene.begin(Owner("function", "test_it.py::test_it", None, None), 0.0)
    probe = DescriptorProbe(scene, Targets(Places(Path(__file__).parent)))
    undo = probe.install()
    # Such as a thread has open for a moment, just when they are counted.
    passing = os.open(os.devnull, os.O_RDONLY)
    assert probe.moved()
    probe.looked()
    probe.sweep()
    os.close(passing)
    kept = os.open(__file__, os.O_RDONLY)
    assert kept == passing
    assert probe.moved()
    scene.owner.ended = True
    (suspect,) = probe.suspects()
    assert suspect.descriptor.target == os.path.realpath(__file__)
    os.close(kept)
    undo()
