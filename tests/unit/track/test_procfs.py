"""What is asked after each test: the number that the system gave last, and whether a folder was changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from pytest_gpuguard.hooks.probes import probes_for
from pytest_gpuguard.track.probe import Paced
from pytest_gpuguard.track.procfs import Newest, changes_of
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
    thread.join(60)
    assert newest.ask() != before


@tells
def test_a_child_is_told(newest):
    before = newest.ask()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True, timeout=60)
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


@pytest.fixture
def folder(tmp_path):
    """Return a folder as its path and an open number, last changed at the second nanosecond of all."""
    os.utime(tmp_path, ns=(1, 2))
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, fd
    os.close(fd)


def test_a_change_in_a_folder_is_told_and_a_look_into_it_is_none(folder):
    path, fd = folder
    ask = changes_of(fd)
    before = ask()
    list(path.iterdir())
    os.utime(path, ns=(10**9, 2))
    assert ask() == before
    (path / "new").touch()
    assert ask() != before


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no folder in memory (/dev/shm)")
def test_one_more_entry_is_told_though_the_clock_has_not_moved():
    path = Path("/dev/shm", uuid.uuid4().hex)
    path.mkdir()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.utime(path, ns=(1, 2))
        ask = changes_of(fd)
        before = ask()
        (path / "new").touch()
        os.utime(path, ns=(1, 2))
        assert ask() != before
    finally:
        os.close(fd)
        shutil.rmtree(path)
