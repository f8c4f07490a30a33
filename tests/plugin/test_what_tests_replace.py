"""Tests put something of their own in the place of what the plugin uses too: they see no calls of ours."""

from __future__ import annotations

CLOCKS = """
    import threading, time

    import pytest

    CALLS = []

    @pytest.fixture(params=["monotonic", "sleep"])
    def used_up(request, monkeypatch):
        def fake(*args):
            CALLS.append(request.param)
            raise StopIteration

        monkeypatch.setattr(time, request.param, fake)

    @pytest.fixture(scope="module")
    def wide():
        yield

    def test_starts_a_thread(used_up, request):
        request.getfixturevalue("wide")
        thread = threading.Thread(target=threading.Event().wait, args=(0.01,))
        thread.start()
        thread.join()

    def test_leaks(used_up):
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_nobody_else_has_called():
        assert not CALLS
"""


def test_a_clock_that_is_used_up_is_the_tests_own(run):
    inner = run.watched(*(["--dist=loadfile"] if "-n" in run.way else []), test_it=CLOCKS)
    assert inner.ret == 0, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == 5
    assert inner.leaking == {"test_leaks[monotonic]", "test_leaks[sleep]"}


FILES = """
    import builtins, os

    import pytest

    def gone(*args, **kwargs):
        raise OSError("there is none")

    @pytest.mark.parametrize("name", ["listdir", "open", "stat"])
    def test_fails(name, monkeypatch):
        monkeypatch.setattr(os, name, gone)
        assert not os

    def test_fails_without_files(monkeypatch):
        monkeypatch.setattr(builtins, "open", gone)
        assert not os
"""


def test_a_failure_without_files_is_a_failure(run):
    inner = run.watched(test_it=FILES)
    assert inner.ret == 1, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"failed"}
    assert len(inner.outcomes) == 4
    assert "GPG901" not in inner.out


WATCHED = """
    import os, time

    import pytest

    class NotHere(BaseException): pass

    def gone(*args, **kwargs):
        raise NotHere

    @pytest.mark.parametrize(("name", "fake"), [("stat", gone), ("getppid", lambda: 1)])
    def test_is_looked_at(name, fake, monkeypatch):
        # Longer than the time between two looks from beside.
        with monkeypatch.context() as context:
            context.setattr(os, name, fake)
            time.sleep(1.5)

    def test_is_looked_at_again():
        time.sleep(1.5)
"""


def test_who_looks_from_beside_goes_on(run):
    inner = run.watched(test_it=WATCHED)
    assert inner.ret == 0, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == 3
    assert "no wait could be ended" not in inner.out


THREADING = """
    import threading

    import pytest

    NOTHING = threading.Event()

    def fake(*args):
        raise StopIteration

    def start_one_by_another():
        other = threading.Thread(target=NOTHING.wait, args=(0.01,))
        other.start()
        other.join()

    @pytest.mark.parametrize("name", ["Timer", "enumerate", "main_thread"])
    def test_starts_a_thread(name, monkeypatch):
        problems = []
        monkeypatch.setattr(threading, "excepthook", problems.append)
        thread = threading.Thread(target=start_one_by_another)
        monkeypatch.setattr(threading, name, fake)
        thread.start()
        thread.join()
        assert not problems

    NAMES = ["Timer", "Event", "Thread"]
    THREADS = [threading.Thread(target=NOTHING.wait, daemon=True) for _ in NAMES]

    @pytest.mark.parametrize("name", NAMES)
    def test_leaks(name, module_patch):
        module_patch.setattr(threading, name, fake)
        THREADS[NAMES.index(name)].start()

    @pytest.fixture(scope="module")
    def module_patch():
        with pytest.MonkeyPatch.context() as patch:
            yield patch
"""


def test_who_replaces_parts_of_threading_starts_threads_as_ever(run):
    inner = run.watched(test_it=THREADING)
    assert inner.ret == 0, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == 6
    assert inner.leaking == {f"test_leaks[{name}]" for name in ("Timer", "Event", "Thread")}


CLASSES = """
    import threading

    import pytest

    class Started(threading.Thread):
        def __init__(self):
            self.over = threading.Event()
            super().__init__(target=self.over.wait, daemon=True)

    class Unsure(Started):
        def is_alive(self):
            raise RuntimeError("it is not known")

    class Named(Started):
        @property
        def name(self):
            raise AttributeError("not before it is configured")

        @name.setter
        def name(self, value): pass

    class Stopped(Started):
        def join(self):
            self.over.set()
            super().join()

    class Empty(Started):
        def __getattr__(self, name):
            raise RuntimeError(name)

        def __bool__(self):
            raise RuntimeError("neither")

        def __eq__(self, other):
            raise RuntimeError("nobody is like it")

        __hash__ = threading.Thread.__hash__

    @pytest.mark.parametrize("cls", [Unsure, Named, Stopped, Empty])
    def test_leaks(cls):
        cls().start()
"""


def test_a_thread_is_asked_as_python_defines_it_whatever_its_class_makes_of_that(run):
    inner = run.watched("--gpuguard-reap", test_it=CLASSES)
    assert inner.ret == 0, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    reaped = {leak.origin.nodeid: leak.reaped for group in inner.report.groups for leak in group.leaks}
    names = ("Unsure", "Named", "Stopped", "Empty")
    assert reaped == {f"test_it.py::test_leaks[{name}]": "stopped by Event.set()" for name in names}
