"""Which of the system's threads is faulthandler's timer, whoever looks while it is armed."""

from __future__ import annotations

import faulthandler
import threading
import time

import pytest

from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.tasks import TaskProbe


@pytest.fixture
def scene():
    scene = Scene()
    scene.begin(Owner("function", "test_it.py::test_it", None, None), 0.0)
    return scene


@pytest.fixture
def halfway(monkeypatch):
    """Arm the timer as on a busy machine: its thread is there, and who armed it has not gone on."""
    start, armed, go_on = faulthandler.dump_traceback_later, threading.Event(), threading.Event()

    def slowly(*args, **kwargs):
        start(*args, **kwargs)
        armed.set()
        assert go_on.wait(60)

    monkeypatch.setattr(faulthandler, "dump_traceback_later", slowly)
    yield armed, go_on
    go_on.set()
    faulthandler.cancel_dump_traceback_later()


def test_who_looks_while_the_timer_is_armed_does_not_take_it_for_a_native_thread(scene, halfway):
    armed, go_on = halfway
    probe = TaskProbe(scene)
    undo = probe.install()
    try:
        arms = threading.Thread(target=faulthandler.dump_traceback_later, args=(700,), daemon=True)
        before = set(procfs.tasks())
        arms.start()
        assert armed.wait(60)
        (timer,) = set(procfs.tasks()) - before - {arms.native_id}
        _wait_for(lambda: procfs.blocks_signals(timer))
        scene.owner.ended = True
        assert probe.suspects() == []
        go_on.set()
        arms.join(60)
        # The system may list a thread for a moment after its end.
        _wait_for(lambda: not probe.suspects())
        assert timer in procfs.tasks()
    finally:
        undo()


def _wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_thread_with_signals_of_its_own_does_not_block_them():
    assert not procfs.blocks_signals(threading.get_native_id())
