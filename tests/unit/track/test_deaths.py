"""Deaths of threads, as the scene hears of them."""

from __future__ import annotations

import threading

import pytest

from pytest_gpuguard.track.deaths import DeathWatch
from pytest_gpuguard.track.interrupt import Interrupter
from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.threads import ThreadProbe


@pytest.fixture
def scene():
    scene = Scene()
    scene.begin(Owner("function", "t.py::test"), 0.0)
    return scene


@pytest.fixture
def watch(scene, monkeypatch):
    # What stands before the hook under test need not hear of a death that is planted.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    watch = DeathWatch(
        scene,
        ThreadProbe(scene),
        Interrupter(scene, list),
        patience=60.0,
        breaks=False,
        expected=lambda text, raw: "planned" in text,
        error=lambda death: RuntimeError(death.thread),
        clock=lambda: 1.0,
    )
    uninstall = watch.install()
    yield watch
    uninstall()


def _die(name):
    def work():
        raise ValueError(name)

    thread = threading.Thread(target=work, name=name)
    thread.start()
    thread.join(60)


def test_the_end_of_the_test_is_told_to_ask_for_it(scene, watch):
    # The thread is none that was seen being born: a birth would tell as well.
    before = scene.news
    _die("planned")
    assert (scene.news == before, list(watch.deaths)) == (True, [])
    _die("unforeseen")
    assert (scene.news == before, [death.thread for death in watch.deaths]) == (False, ["unforeseen"])


def test_what_dies_between_tests_is_nobodys(scene, watch):
    scene.end()
    _die("unforeseen")
    assert list(watch.take()) == []
