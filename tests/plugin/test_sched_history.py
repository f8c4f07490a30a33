"""What runs before have measured is used, kept beside pytest's own cache, and written as marks."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

SUITE = """
    import os, time
    import pytest

    @pytest.mark.parametrize("n", range(4))
    def test_free(n):
        time.sleep(0.2 if n == 3 else 0.01)

    @pytest.mark.parametrize("n", range(4))
    def test_allocating(n, pinned_array):
        # Nothing is said of it: it is claimed when it is allocated.
        array = pinned_array((40 << 20,), "u1")
        time.sleep(0.1)

    @pytest.mark.gpu(pinned="100 MiB")
    def test_modest(pinned_array):
        pinned_array((1 << 20,), "u1")

    @pytest.mark.gpu(pinned="30 MiB")
    def test_honest(pinned_array):
        pinned_array((20 << 20,), "u1")
"""


#: Where runs find what those before them have measured.
HISTORY = Path(".pytest_cache/d/gpuguard-history/history.json")


def stored(inner):
    return json.loads((inner.folder / HISTORY).read_text())


def test_durations_and_peaks_are_kept_and_claims_that_are_far_off_are_told(run, tmp_path):
    inner = run.watched(
        "--gpuguard-budget=pinned=100MiB",
        f"--gpuguard-budget-dir={tmp_path}",
        "--gpuguard-profile=marks.txt",
        test_it=SUITE,
    )
    assert inner.ret == 0, inner.out
    history = stored(inner)
    assert len(history["seconds"]) == 10
    assert history["seconds"]["test_it.py::test_free[3]"] >= 0.2
    assert history["peaks"]["test_it.py::test_allocating[0]"]["pinned"] == 40 << 20
    assert "test_it.py::test_free[0]" not in history["peaks"]
    assert history["claims"]["test_it.py::test_modest"]["pinned"] == 100 << 20
    assert "test_it.py::test_modest claims 100.0 MiB pinned, and used only 1.0 MiB" in inner.out
    assert "test_honest claims" not in inner.out
    marks = (inner.folder / "marks.txt").read_text()
    assert 'test_it.py::test_allocating: @pytest.mark.gpu(pinned="40 MiB")' in marks
    assert "test_free" not in marks


def test_what_was_measured_keeps_tests_apart_that_say_nothing(run_two, tmp_path):
    source = """
        import time
        import pytest

        @pytest.mark.parametrize("n", range(12))
        def test_free(n):
            time.sleep(0.05)

        @pytest.mark.parametrize("n", range(4))
        def test_allocating(n, pinned_array):
            array = pinned_array((60 << 20,), "u1")
            time.sleep(0.1)
    """
    options = ("--gpuguard-budget=pinned=100MiB", f"--gpuguard-budget-dir={tmp_path}")
    first = run_two.watched(*options, test_it=source)
    assert first.ret == 0, first.out
    shutil.rmtree(first.folder / ".pytest_cache/d/gpuguard")  # the record of the first run alone
    again = run_two.watched(*options)
    assert again.ret == 0, again.out
    assert not again.report.waits
    spans = sorted((span.start, span.stop) for span in again.report.tests if "allocating" in span.nodeid)
    assert len(spans) == 4
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_history_that_cannot_be_read_is_none(run_plain):
    path = run_plain.pytester.path / HISTORY
    path.parent.mkdir(parents=True)
    path.write_text('{"seconds": [1, 2')
    inner = run_plain.watched(test_it="def test_it(): pass")
    assert inner.ret == 0, inner.out
    assert list(stored(inner)["seconds"]) == ["test_it.py::test_it"]


def test_a_history_that_cannot_be_written_is_told_and_fails_nothing(run_plain):
    (run_plain.pytester.path / HISTORY / "in the way").mkdir(parents=True)
    inner = run_plain.watched(test_it="def test_it(): pass")
    assert inner.ret == 0, inner.out
    (note,) = inner.report.notes
    assert note.startswith("what tests take could not be kept: ")


def test_without_a_cache_nothing_is_kept_and_nothing_fails(run_two):
    inner = run_two.watched("-p", "no:cacheprovider", test_it="def test_it(): pass\ndef test_b(): pass")
    assert inner.ret == 0, inner.out


SLOW = """
    import os, time
    import pytest

    @pytest.mark.skipif("SKIP" in os.environ, reason="slow")
    @pytest.mark.gpu(pinned="1 MiB")
    def test_slow():
        time.sleep(0.3)

    @pytest.mark.gpu(pinned="1 MiB")
    @pytest.mark.xfail
    def test_wrong():
        time.sleep(0.2)
        raise AssertionError
"""


def test_a_test_that_was_not_run_is_as_long_as_before(run):
    first = stored(run.watched(test_it=SLOW))
    assert first["seconds"]["test_it.py::test_slow"] >= 0.3
    assert first["seconds"]["test_it.py::test_wrong"] >= 0.2
    for shown in ("--setup-plan", "--setup-only"):
        assert stored(run("--gpuguard", shown)) == first
    run.setenv("SKIP", "1")
    after = stored(run("--gpuguard"))
    assert after["seconds"]["test_it.py::test_slow"] == first["seconds"]["test_it.py::test_slow"]
    assert after["claims"] == first["claims"]


def test_what_was_debugged_tells_nothing_of_how_long_tests_take(run_plain):
    inner = run_plain(
        "--gpuguard",
        test_it="""
            def test_debugged(pytestconfig):
                pytestconfig.hook.pytest_enter_pdb(config=pytestconfig, pdb=None)
        """,
    )
    assert (inner.ret, (inner.folder / HISTORY).exists()) == (0, False)


def test_a_plan_claims_nothing_and_is_no_run(run):
    inner = run(
        "--gpuguard",
        "--setup-plan",
        "--gpuguard-require=gpu",
        "--gpuguard-budget=pinned=1MiB",
        test_it="""
            import pytest

            @pytest.mark.gpu(pinned="2 MiB")
            def test_it(gpu, pinned_array): pass
        """,
    )
    assert inner.ret == 0, inner.out
    assert "GPG" not in inner.out
    assert not list((inner.folder / ".pytest_cache/d/gpuguard").glob("*"))


def test_another_run_that_clears_the_cache_meanwhile_ends_nothing(run_two):
    conftest = """
        import shutil

        def pytest_collection_modifyitems(config):
            if hasattr(config, "workerinput"):
                shutil.rmtree(config.cache.mkdir("gpuguard"), ignore_errors=True)
    """
    inner = run_two.watched(
        conftest=conftest,
        test_it="""
            import os
            import pytest

            @pytest.mark.xdist_group("one")
            @pytest.mark.parametrize("n", range(4))
            def test_it(n):
                if n == 1 and os.environ["PYTEST_XDIST_WORKER"] in {"gw0", "gw1"}:
                    os._exit(3)
        """,
    )
    assert "1 failed, 3 passed" in inner.out
    assert "the record could not be written: " in inner.out
