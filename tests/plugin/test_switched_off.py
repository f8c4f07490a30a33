"""What of pytest can be switched off: the run is watched without it."""

from __future__ import annotations

SUITE = """
    import threading

    def test_leaks():
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_fails():
        assert not threading
"""


def test_without_what_of_pytest_is_not_needed(run):
    names = ("capture", "faulthandler", "logging", "stepwise", "threadexception", "unraisableexception")
    inner = run.watched(*(f"-pno:{name}" for name in names), test_it=SUITE)
    assert inner.ret == 1, inner.out + inner.err
    assert inner.outcomes == {"test_leaks": "passed", "test_fails": "failed"}
    assert inner.leaking == {"test_leaks"}
