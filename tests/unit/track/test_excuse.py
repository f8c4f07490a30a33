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
    excuses.begin(failed=True)
    assert excuses.sift([_grown()]) == []
    excuses.begin(failed=False)
    for _ in range(100):
        another = _grown()
        assert excuses.sift([another]) == [another]
