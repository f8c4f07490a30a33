"""Whose a child process is, however the look at the list and its start fall together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.processes import ProcessProbe
from pytest_gpuguard.track.scope import Owner, Scene
from pytest_gpuguard.track.threads import ThreadProbe

SLEEP = ["sleep", "1000"]
LIMIT = 60


@contextlib.contextmanager
def watched():
    """Give scene, probe, the test in force, and a list of children that are ended at last."""
    scene, test = Scene(), Owner("function", "t.py::first")
    scene.begin(test, 1.0)
    children: list[int] = []
    with contextlib.ExitStack() as undo:
        for probe in (ThreadProbe(scene), ProcessProbe(scene)):
            undo.callback(probe.install())
        try:
            yield scene, probe, test, children
        finally:
            for pid in children:
                os.kill(pid, 9)
                os.waitpid(pid, 0)


def wait_until(true, limit=LIMIT):
    """Return the first answer that is true, or the last one when the time is over."""
    end = time.monotonic() + limit
    while not (answer := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer


def owner_of(probe, pid):
    """Return whose the probe takes a child to be, and how sure it is."""
    (birth,) = (birth for (known, _), birth in probe._births.items() if known == pid)
    return birth.owner.node, birth.certainty


def test_a_child_listed_before_its_start_is_recorded_is_its_thread_s_and_not_the_next_test_s(monkeypatch):
    started, looked, spawn = threading.Event(), threading.Event(), os.posix_spawnp

    def start_and_linger(*args):
        # The system has done its part, and the thread waits for its turn to go on.
        children.append(spawn(*args))
        started.set()
        assert looked.wait(LIMIT)
        return children[0]

    monkeypatch.setattr(os, "posix_spawnp", start_and_linger)
    with watched() as (scene, probe, test, children):
        thread = threading.Thread(target=lambda: os.posix_spawnp("sleep", SLEEP, os.environ))
        thread.start()
        assert started.wait(LIMIT)
        test.ended = True
        scene.begin(Owner("function", "t.py::next"), 2.0)
        probe.sweep()
        assert owner_of(probe, children[0]) == ("t.py::next", "inferred")
        looked.set()
        thread.join(LIMIT)
        assert [suspect.birth.certainty for suspect in probe.suspects()] == ["inherited"]
        assert owner_of(probe, children[0]) == ("t.py::first", "inherited")


def test_a_thread_that_waits_for_its_child_s_program_has_told_whose_it_is():
    read, write = os.pipe()
    with watched() as (scene, probe, test, children):
        # What other tests' libraries keep for good, multiprocessing's tracker for one, is listed too.
        others = set(probe.look())

        def start():
            # Until the parent lets go: so long Popen() does not return.
            process = subprocess.Popen(SLEEP, preexec_fn=lambda: os.read(read, 1))  # noqa: PLW1509
            children.append(process.pid)

        thread = threading.Thread(target=start)
        thread.start()
        ((pid, _),) = wait_until(lambda: set(probe.look()) - others)
        test.ended = True
        scene.begin(Owner("function", "t.py::next"), 2.0)
        told = wait_until(lambda: probe._started)
        probe.sweep()
        # First let go: a failed assertion would leave the thread waiting for ever.
        os.write(write, b"x")
        thread.join(LIMIT)
        assert told
        assert owner_of(probe, pid) == ("t.py::first", "inherited")
        assert children == [pid]
        probe.sweep()
        assert owner_of(probe, pid) == ("t.py::first", "inherited")
    os.close(read)
    os.close(write)


@pytest.fixture(params=["pytest", "python3", "a title of it"])
def our_name(request):
    """What the system calls this process: that depends on how pytest was started."""
    comm = Path("/proc/self/comm")
    before = comm.read_text()
    comm.write_text(request.param)
    yield
    comm.write_text(before)


@pytest.mark.usefixtures("our_name")
def test_a_fork_is_called_python_however_this_process_was_started():
    with watched() as (_, probe, test, children):
        pid = os.fork()
        if not pid:
            time.sleep(1000)
            os._exit(0)
        children.append(pid)
        probe.sweep()
        test.ended = True
        (suspect,) = (suspect for suspect in probe.suspects() if suspect.child.pid == pid)
        assert (suspect.title, suspect.what) == ("child process python", "process python")


def test_a_program_is_called_by_its_own_name():
    with watched() as (_, probe, test, children):
        children.append(subprocess.Popen(SLEEP).pid)
        probe.sweep()
        test.ended = True
        assert [suspect.title for suspect in probe.suspects()] == ["child process sleep"]


def test_a_child_started_while_the_lists_are_read_is_not_forgotten(monkeypatch):
    with watched() as (_, probe, _, children):
        tasks = procfs.tasks

        def tasks_and_a_start():
            yield from tasks()
            # Another thread's turn: the lists have been read.
            children.append(subprocess.Popen(SLEEP).pid)

        monkeypatch.setattr(procfs, "tasks", tasks_and_a_start)
        probe.sweep()
        monkeypatch.setattr(procfs, "tasks", tasks)
        probe.sweep()
        assert owner_of(probe, children[0]) == ("t.py::first", "exact")


@pytest.mark.parametrize("known", [True, False], ids=["seen before", "only recorded"])
def test_a_child_that_a_list_leaves_out_for_once_keeps_its_owner(monkeypatch, known):
    with watched() as (scene, probe, _, children):
        children.append(subprocess.Popen(SLEEP).pid)
        if known:
            probe.sweep()
        monkeypatch.setattr(procfs, "tasks", list)
        probe.sweep()
        monkeypatch.undo()
        scene.begin(Owner("function", "t.py::next"), 2.0)
        probe.sweep()
        assert owner_of(probe, children[0]) == ("t.py::first", "exact")


def test_a_number_that_is_another_process_by_now_is_no_child():
    with watched() as (_, probe, _, _):
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        probe.record(os.getppid(), sys._getframe())
        probe.sweep()
        assert {os.getppid(), process.pid}.isdisjoint(pid for pid, _ in probe._births)
        assert not probe._started
