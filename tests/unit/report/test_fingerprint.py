"""One defect, one name."""

from __future__ import annotations

import pytest

from pytest_gpuguard.report.fingerprint import fingerprint, suspect_of
from pytest_gpuguard.report.model import FixtureRef, Frame

FIXTURE = Frame("test_a.py", 7, "leaky", "fixture")
TEST = Frame("test_a.py", 20, "test_shape", "test")
SOLVE = Frame("solver.py", 28, "Solver.solve", "app")
START = Frame("solver.py", 10, "Watcher.start", "app")
LIBRARY = Frame("<stdlib>/threading.py", 5, "Timer.start", "library")


def _moved(frame):
    return Frame(frame.file, frame.line + 30, frame.function, frame.role)


def _of(*frames, subject="solver:Watcher._run"):
    return fingerprint("thread", frames, subject)


def test_a_moved_line_keeps_the_name():
    assert _of(FIXTURE, SOLVE, START) == _of(*map(_moved, (FIXTURE, SOLVE, START)))


def test_what_a_library_does_within_keeps_the_name():
    assert _of(FIXTURE, START, LIBRARY) == _of(FIXTURE, START)


def test_two_fixtures_that_forget_the_same_thing_are_two_defects():
    other = Frame("test_a.py", 30, "another", "fixture")
    assert _of(FIXTURE, SOLVE, START) != _of(other, SOLVE, START)


def test_many_tests_that_repeat_a_mistake_of_the_code_are_one_defect():
    other = Frame("test_b.py", 3, "test_other", "test")
    assert _of(TEST, SOLVE, START) == _of(other, SOLVE, START)


def test_two_tests_that_make_a_mistake_each_are_two_defects():
    other = Frame("test_b.py", 3, "test_other", "test")
    assert _of(TEST, LIBRARY) != _of(other, LIBRARY)


def _fixture(name, file="test_a.py"):
    return FixtureRef(name, "module", file, file, 7, yields=False, made=None, closing=None)


def test_a_fixture_counts_where_no_frame_is_its_own():
    # As of what a thread has started: its stack begins with the thread.
    of = {fingerprint("thread", [START], "s", fixture) for fixture in (None, _fixture("a"), _fixture("b"))}
    assert len(of) == 3
    assert fingerprint("thread", [START], "s", _fixture("a", "test_b.py")) not in of


@pytest.mark.parametrize("within", [[], [START]], ids=["by the test", "by the code"])
def test_a_test_that_is_the_first_to_use_a_fixture_does_not_count(within):
    other = Frame("test_b.py", 3, "test_other", "test")
    one, two = (fingerprint("thread", [test, *within], "s", _fixture("a")) for test in (TEST, other))
    assert one == two != fingerprint("thread", [TEST, *within], "s", _fixture("b"))


@pytest.mark.parametrize(
    "frame", [FIXTURE, Frame("test_a.py", 9, "TestIt.setup_method", "app")], ids=["its own", "xunit"]
)
def test_a_fixture_that_is_among_the_frames_counts_once(frame):
    frames = [frame, START]
    for name in ("renamed", "setup_method")[frame.role == "app" :]:
        assert fingerprint("thread", frames, "s", _fixture(name)) == fingerprint("thread", frames, "s")


def test_kind_and_subject_count():
    assert _of(TEST, subject="a:b") != _of(TEST, subject="a:c")
    assert fingerprint("thread", [TEST], "a") != fingerprint("process", [TEST], "a")


def test_the_name_says_by_which_recipe():
    assert _of(FIXTURE).startswith("v1:")
    assert len(_of()) == len("v1:") + 16


@pytest.mark.parametrize(
    ("frames", "suspect"),
    [
        ((FIXTURE, SOLVE, START, LIBRARY), START),
        ((FIXTURE, LIBRARY), FIXTURE),
        ((TEST, LIBRARY), TEST),
        ((LIBRARY,), LIBRARY),
        ((), None),
    ],
)
def test_the_innermost_of_the_project_is_to_blame(frames, suspect):
    assert suspect_of(frames) is suspect
