"""What numba keeps for good is known by the file that makes it, and nothing else is."""

from __future__ import annotations

import pytest

from pytest_gpuguard.track.handles import HandleProbe, HandleSuspect
from pytest_gpuguard.track.scope import Scene


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("/site/numba/cuda/memory_management/nrt.py", "numba keeps the memory of its runtime statistics"),
        ("/site/suite/nrt.py", None),
    ],
)
def test_the_statistics_of_numba_s_runtime_are_its_own(file, why):
    probe = HandleProbe(Scene(), frozenset({"device"}), lambda: False)
    make = "def make(born): born('key', 'device', 'device memory', 'cuMemAlloc', 'source', list, depth=1)"
    names = {}
    exec(compile(make, file, "exec"), names)
    names["make"](probe.living.born)
    (thing,) = probe.living.all()
    assert probe.known(HandleSuspect(thing)) == why
