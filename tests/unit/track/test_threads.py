"""What a thread runs, for whom, and that looking at it runs nothing of the suite."""

# ruff: noqa: D101 - stand-ins whose names say it
from __future__ import annotations

import functools
import threading
import weakref
from unittest import mock

import pytest

from pytest_gpuguard.track.holding import apart, holds
from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.threads import ThreadProbe, ThreadSuspect, keeper_of
from pytest_gpuguard.track.words import said, sound


def work(*_args):
    """Do nothing."""


class Owns:
    def work(self):
        """Do nothing."""


class Runs(threading.Thread):
    def run(self):
        """Do nothing."""


class Called:
    def __call__(self):
        """Do nothing."""

    def __getattr__(self, name):
        message = f"{name} is nobody's business"
        raise RuntimeError(message)


OWNS, CALLED = Owns(), Called()


@pytest.mark.parametrize(
    ("thread", "what", "keeper"),
    [
        (threading.Thread(target=work), "work", None),
        (threading.Thread(target=OWNS.work), "Owns.work", OWNS),
        (threading.Thread(target=functools.partial(functools.partial(OWNS.work))), "Owns.work", OWNS),
        (threading.Thread(target=CALLED, name="called"), "Called", CALLED),
        (threading.Thread(target=work, args=(weakref.ref(OWNS),)), "work", OWNS),
        (threading.Thread(target=int), "int", None),
        (threading.Timer(1, OWNS.work), "Owns.work", OWNS),
        (threading.Thread(target=mock.Mock()), "Mock", ...),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_thread_runs_and_for_whom(thread, what, keeper):
    scene = Scene()
    scene.begin(Owner("function", "t.py::test"), 0.0)
    probe = ThreadProbe(scene)
    probe.record(thread, None)
    assert probe.birth_of(thread).what.rpartition(":")[2] == what
    assert keeper is ... or keeper_of(thread) is keeper


def test_a_thread_class_and_a_timer_work_for_themselves():
    for thread in (Runs(), threading.Timer(1, work)):
        assert keeper_of(thread) is thread


def test_who_has_forgotten_whom_he_worked_for_stands_for_nothing():
    """What seems to have nothing to do with it may be its owner's."""
    thread = threading.Thread(target=OWNS.work)
    scene = Scene()
    birth = scene.born("work", ())
    assert ThreadSuspect(thread, birth).things == [thread, OWNS]
    thread.start()
    thread.join()
    assert ThreadSuspect(thread, birth).things == []


def test_start_is_wrapped_and_given_back_below_later_wrappers():
    original = threading.Thread.start
    undo_first = ThreadProbe(Scene()).install()
    first = threading.Thread.start
    undo_second = ThreadProbe(Scene()).install()
    undo_first()  # ours is below somebody else's: it must stay
    assert threading.Thread.start not in {original, first}
    undo_second()
    assert threading.Thread.start is first
    undo_first()
    assert threading.Thread.start is original


def test_moved_is_said_once_per_look():
    probe = ThreadProbe(Scene())
    assert not probe.moved()
    probe.record(threading.Thread(target=work), None)
    assert probe.moved()
    probe.looked()
    assert not probe.moved()


class Solver:
    def __init__(self, thread):
        self.parts = {"watchers": [thread]}


def test_a_value_holds_what_can_be_reached_from_it():
    thread, other = threading.Thread(target=work), threading.Thread(target=work)
    assert holds(Solver(thread), [thread])
    assert holds(thread, [thread])
    assert not holds(Solver(other), [thread])
    assert not holds(None, [thread])


def test_who_shares_anything_is_not_apart():
    class Part:
        def __init__(self, *parts: object) -> None:
            self.parts = parts

        @property
        def __class__(self) -> type:
            raise AssertionError

    shared, text = threading.Event(), "a word that both have"
    assert apart(Part(threading.Event(), text, int), [Part(text, int, ())])
    assert not apart(Part(shared), [Part(threading.Event()), Part(shared)])
    inner = Part()
    assert not apart(Part(Part(inner)), [inner])
    assert not apart(inner, [Part(Part(inner))])


def test_what_is_not_seen_to_its_end_is_not_apart():
    assert not apart([[number] for number in range(10_000)], [[]])
    assert not apart([], [[[number] for number in range(10_000)]])


def test_through_code_and_the_harness_everything_is_reached_so_nothing_is(request):
    thread = threading.Thread(target=work)
    request.node.kept = Solver(thread)
    try:
        assert not holds(work, [OWNS])
        assert not holds(threading, [threading.main_thread()])
        assert not holds({"request": request, "config": request.config}, [thread])
    finally:
        del request.node.kept


class Silent(Exception):  # noqa: N818 - what it is, not what it means
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("planted"), "ValueError: planted"),
        (Silent(), "Silent: (its message cannot be had: RuntimeError)"),
        (OSError("caf\udce9"), r"OSError: caf\udce9"),
        (None, "NoneType: None"),
    ],
)
def test_what_an_error_says(error, text):
    assert said(error) == text


def test_words_are_carried_by_anything_and_end():
    class Text(str):
        __slots__ = ()

    assert type(sound(Text("a"))) is str
    assert sound("\udce9é\n") == "\\udce9é\n"
    assert sound("x" * 5000) == "x" * 2000 + "... (5000 characters)"
