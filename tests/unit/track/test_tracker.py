"""What is judged, and when: whatever comes while others are waited for has its own time to go."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.scope import Birth, Owner, Scene
from pytest_gpuguard.track.stacks import Places
from pytest_gpuguard.track.tracker import Tracker

OWNER = Owner("function", "test_it.py::test_it", None, None)
OWNER.ended = True


class _Thing(Suspect):
    kind, code, what, title = "token", "XYZ1", "token", "token"

    def __init__(self, name):
        self.name = name
        at = time.monotonic()
        self.birth = Birth(name, OWNER, OWNER.node, "call", None, "exact", (), at)

    def subject(self, places):
        del places
        return {"name": self.name}


class _Probe:
    """Has one thing that stays, and another one that comes with a later look."""

    kinds, unable, watching = frozenset({"token"}), None, ()

    def __init__(self):
        self.things, self.late = [_Thing("stays")], None

    def moved(self):
        return False

    def sweep(self):
        pass

    def looked(self):
        pass

    def known(self, suspect):
        del suspect

    def suspects(self):
        if self.late is not None and time.monotonic() >= self.late:
            self.late = None
            self.things.append(_Thing("came late"))
        return [thing for thing in self.things if not thing.birth.reported]


def _names(leaks):
    return [leak["subject"]["name"] for leak in leaks]


def _tracker(probe, settle_for):
    return Tracker(
        [probe], Scene(), Places(Path.cwd()), worker="main", started=0.0, settle_for=settle_for, reap=False
    )


def test_what_comes_just_before_the_last_look_is_for_the_next_judgement():
    probe = _Probe()
    tracker = _tracker(probe, settle_for=0.0)
    tracker.force()
    # With no time to settle the second look is the last one.
    asked = probe.suspects
    looks = iter((0.0, time.monotonic()))

    def suspects():
        probe.late = next(looks, None) or probe.late
        return asked()

    probe.suspects = suspects
    assert _names(tracker.judge(verified=True)) == ["stays"]
    assert _names(tracker.judge(verified=True)) == ["came late"]
    assert tracker.judge(verified=True) == []


def test_what_came_in_time_is_judged_with_the_others():
    probe = _Probe()
    # Far more than a look takes on a busy machine: it comes with the first look or the second.
    tracker = _tracker(probe, settle_for=2.0)
    tracker.force()
    probe.late = time.monotonic() + 0.001
    assert set(_names(tracker.judge(verified=True))) == {"stays", "came late"}


@pytest.mark.parametrize(
    ("waited", "stays", "notes"),
    [
        (0.9, False, ["settled late: token of test_it took 0.9 s to go"]),
        (0.1, False, []),
        (0.9, True, []),
    ],
)
def test_what_took_most_of_its_time_to_go_is_noted(monkeypatch, waited, stays, notes):
    monkeypatch.setattr("pytest_gpuguard.track.tracker.stretched", lambda limit: limit)
    monkeypatch.setattr(
        "pytest_gpuguard.track.tracker.settle",
        lambda suspects, *_, **__: (suspects() if stays else [], waited),
    )
    tracker = _tracker(_Probe(), settle_for=1.0)
    tracker.force()
    assert len(tracker.judge(verified=True)) == stays
    assert list(tracker.notes) == notes
