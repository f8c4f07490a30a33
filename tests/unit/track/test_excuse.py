"""What the traceback of a failed test may keep, and nothing else, is for a later judgement."""

from __future__ import annotations

from pytest_gpuguard.track.excuse import Excuses
from pytest_gpuguard.track.memory import MemorySuspect
from pytest_gpuguard.track.scope import Birth, Owner

OWNER = Owner("function", "t.py::t")


def _grown():
    return MemorySuspect(Birth("memory", OWNER, OWNER.node, "call", None, "inferred", (), 0.0))


def test_an_excuse_is_not_inherited_by_what_comes_to_the_same_place():
    excuses = Excuses()
    for _ in range(3):
        excuses.begin(failed=True)
        # Gone once it was looked at: no assertion may hold it.
        left = len(excuses.sift([_grown()]))
        assert left == 0
        excuses.begin(failed=False)
        others = [_grown() for _ in range(1000)]
        left = len(excuses.sift(others))
        assert left == 1000
