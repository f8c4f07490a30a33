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
