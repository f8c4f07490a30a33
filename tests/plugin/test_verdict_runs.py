"""The verdict and pytest's own ways to choose and stop: ``-x``, ``--maxfail``, ``--lf``, xfail."""

from __future__ import annotations

SUITE = """
    import pytest
    from watcher import Watcher

    @pytest.fixture(scope="module")
    def wide():
        return Watcher().start()

    def test_first(wide): pass

    def test_leaks(wide):
        Watcher().start()

    def test_never(wide): pass
"""


def test_a_pure_leak_stops_at_the_first_failure_only_as_an_error(run_plain):
    inner = run_plain.watched("-x", "--gpuguard-leaks=error", test_it=SUITE)
    assert inner.outcomes == {"test_first": "passed", "test_leaks": "passed, teardown failed"}
    assert inner.ret == 1
    # What the stop left standing is judged too, and is the fixture's.
    assert inner.leaking == {"test_first", "test_leaks"}
    assert "test_never" not in inner.outcomes


def test_a_reported_leak_stops_nothing(run_plain):
    inner = run_plain.watched("-x", test_it=SUITE)
    assert inner.outcomes == dict.fromkeys(("test_first", "test_leaks", "test_never"), "passed")
    assert inner.ret == 0
    assert inner.leaking == {"test_first", "test_leaks"}


def test_last_failed_selects_what_leaked_as_an_error_and_nothing_that_was_reported(run_plain):
    run_plain.watched(test_it=SUITE)
    reported = run_plain("--lf", "--collect-only", "-q")
    assert "test_first" in reported.out  # nothing failed: all are selected
    run_plain.watched("--gpuguard-leaks=error")
    again = run_plain("--lf", "--collect-only", "-q")
    assert [line.partition("::")[2] for line in again.out.splitlines() if "::" in line] == ["test_leaks"]
    mended = run_plain.watched("--lf", "--gpuguard-leaks=error", "--gpuguard-leak-kinds=process")
    assert mended.outcomes == {"test_leaks": "passed"}
    assert mended.ret == 0


XFAIL = """
    import pytest
    from watcher import Watcher

    @pytest.fixture
    def leaky():
        return Watcher().start()

    @pytest.mark.xfail(reason="known", raises=OSError)
    def test_raises_another(leaky):
        raise ValueError("own")

    @pytest.mark.xfail(reason="known")
    def test_unexpectedly_passes(leaky): pass

    @pytest.mark.xfail(reason="known", strict=True)
    def test_unexpectedly_passes_strictly(leaky): pass

    @pytest.mark.xfail(reason="known", run=False)
    def test_does_not_run(leaky): pass

    def test_xfails_by_a_call(leaky):
        pytest.xfail("known")
"""


def test_no_expected_failure_swallows_a_leak(run):
    inner = run.watched("--gpuguard-leaks=error", test_it=XFAIL)
    assert inner.outcomes == {
        "test_raises_another": "failed, teardown failed",
        "test_unexpectedly_passes": "xpassed, teardown failed",
        "test_unexpectedly_passes_strictly": "failed, teardown failed",
        "test_does_not_run": "setup skipped",
        "test_xfails_by_a_call": "xskipped, teardown failed",
    }
    assert "ValueError: own" in inner.text("test_raises_another")
    assert "[XPASS(strict)]" in inner.text("test_unexpectedly_passes_strictly")
