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
    inner = run.watched("--dist=loadfile", test_it=CLOCKS) if "-n" in run.way else run.watched(test_it=CLOCKS)
    assert inner.ret == 0, inner.out + inner.err
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == 5
    assert inner.leaking == {"test_leaks[monotonic]", "test_leaks[sleep]"}
