"""When a stall is told of and when it is ended, by a clock that the test turns."""

# ruff: noqa: D102 - stand-ins whose names say it
from __future__ import annotations

import pytest

from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.stall import StallWatch


class Interrupter:
    """Stands for the signal: says whether a wait can be broken, and counts."""

    def __init__(self, *, armed=True):
        self.armed, self.sent, self.killed = armed, [], []

    def armed_for(self, owner):
        return self.armed and owner is not None

    def interrupt(self, owner, error, *, still):
        self.sent.append((owner.node, error(), still(None)))
        return True


def _watch(*, after, end_after, armed=True):
    scene = Scene()
    scene.begin(Owner("function", "t.py::test"), 0.0)
    told = []
    interrupter = Interrupter(armed=armed)
    watch = StallWatch(
        scene,
        interrupter,
        after=after,
        end_after=end_after,
        dossier=lambda stall: told.append(stall) or f"dossier {len(told)}",
        error=RuntimeError,
        kill=lambda stall, text: interrupter.killed.append((stall.phase, stall.idle, text)),
    )
    return scene, watch, interrupter, told


def test_told_once_and_ended_later_and_again_when_swallowed():
    _, watch, interrupter, told = _watch(after=10, end_after=20)
    for now in (5, 9, 10, 15, 19):
        watch.look(now)
    assert [(stall.idle, stall.ended) for stall in told] == [(10, False)]
    for now in (20, 20.5, 21, 21.5, 22):
        watch.look(now)
    assert [(stall.idle, stall.ended) for stall in told[1:]] == [(20, True)]
    assert [str(error) for _, error, _ in interrupter.sent] == ["dossier 2"] * 3
    assert all(still for _, _, still in interrupter.sent)
    assert watch.take() == told
    assert watch.take() == []


def test_the_end_of_the_test_is_told_to_ask_for_it():
    scene, watch, _, told = _watch(after=10, end_after=20)
    before = scene.news
    watch.look(9)
    assert (scene.news == before, told) == (True, [])
    watch.look(10)
    assert (scene.news == before, len(told)) == (False, 1)


def test_progress_puts_it_off():
    scene, watch, interrupter, told = _watch(after=10, end_after=20)
    for now in range(0, 100, 5):
        scene.touch(now)
        watch.look(now + 4)
    assert (told, interrupter.sent) == ([], [])


@pytest.mark.parametrize(
    ("after", "end_after", "told_at"), [(0, 0, None), (10, 0, 10), (0, 20, 20), (30, 20, 20)]
)
def test_zero_is_never_and_an_end_needs_no_warning(after, end_after, told_at):
    _, watch, _, told = _watch(after=after, end_after=end_after)
    assert 0.02 <= watch.pace <= 1.0
    for now in range(26):
        watch.look(now)
    assert [stall.idle for stall in told] == ([] if told_at is None else [told_at])


@pytest.mark.parametrize("armed", [True, False])
def test_what_cannot_be_interrupted_ends_the_process(armed):
    _, watch, interrupter, told = _watch(after=10, end_after=20, armed=armed)
    for now in range(26):
        watch.look(now)
    assert interrupter.killed == []
    assert [stall.ended for stall in told] == ([False, True] if armed else [False])
    watch.look(26)
    assert interrupter.killed == [("setup", 26, f"dossier {len(told)}")]
    assert told[-1].how == "its process was ended, since the wait could not be interrupted"
    assert [stall.ended for stall in watch.take()] == [False, True]


def test_progress_at_the_last_moment_saves_the_process():
    scene, watch, interrupter, _ = _watch(after=10, end_after=20, armed=False)
    for now in range(26):
        watch.look(now)
    scene.touch(26)
    for now in range(26, 52):
        watch.look(now)
    assert interrupter.killed == []


def test_between_tests_nothing_is_timed():
    scene, watch, _, told = _watch(after=10, end_after=20)
    scene.end()
    watch.look(1000)
    assert told == []
