"""The number that the system gave last: one question for threads and children alike."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_gpuguard.hooks.probes import probes_for
from pytest_gpuguard.track.probe import Paced
from pytest_gpuguard.track.procfs import Newest
from pytest_gpuguard.track.scope import Scene

tells = pytest.mark.skipif(
    not Path("/proc/sys/kernel/ns_last_pid").exists(),
    reason="this kernel does not tell which number it gave last (no /proc/sys/kernel/ns_last_pid)",
)


@pytest.fixture
def newest():
    newest = Newest()
    close = newest.open()
    yield newest
    close()


@tells
def test_a_thread_that_has_come_and_gone_is_told(newest):
    before = newest.ask()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert newest.ask() != before


@tells
def test_a_child_is_told(newest):
    before = newest.ask()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    assert newest.ask() != before


@tells
def test_it_is_open_as_long_as_anybody_asks():
    newest = Newest()
    first, second = newest.open(), newest.open()
    (pulse,) = newest.pulses
    first()
    assert newest.pulses == (pulse,)
    second()
    assert newest.pulses == ()
    with pytest.raises(OSError, match="Bad file descriptor"):
        pulse()
    newest.open()()


def test_nobody_tells_where_the_file_cannot_be_opened(monkeypatch):
    monkeypatch.setattr(os, "open", _refuse(os.open))
    newest = Newest()
    close = newest.open()
    assert newest.pulses == ()
    assert newest.ask() is None
    close()


@tells
def test_one_question_does_for_threads_and_children(pytestconfig):
    assert len(_pulses(pytestconfig)) == 1


def test_counts_are_asked_where_nobody_tells(monkeypatch, pytestconfig):
    monkeypatch.setattr(os, "open", _refuse(os.open))
    assert len(_pulses(pytestconfig)) == 2


def _refuse(original):
    def refusing(path, *args, **kwargs):
        if "ns_last_pid" in str(path):
            raise FileNotFoundError(path)
        return original(path, *args, **kwargs)

    return refusing


def _pulses(config):
    """Return the different questions that threads and children need."""
    _, probes = probes_for(Scene(), frozenset({"thread", "process"}), config)
    undo = [probe.install() for probe in probes]
    try:
        return {pulse for probe in probes if isinstance(probe, Paced) for pulse in probe.pulses}
    finally:
        for step in reversed(undo):
            step()
