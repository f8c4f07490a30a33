"""The verdict beside the plugins that people use: right about their tests, and in nobody's way.

Each is tried where it is installed, with leaks reported and as errors. ``docs/reference/plugins.md`` says
what is covered.
"""

from __future__ import annotations

import importlib.util

import pytest

MODES = ("report", "error")


def needs(module: str) -> pytest.MarkDecorator:
    """Skip where a plugin is not installed, and say which."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(
        missing, reason=f"{module} is not installed: pip install 'pytest-gpuguard[plugins]'"
    )


def leaked(outcome: str, mode: str) -> str:
    """Return the outcome of a test that leaks: its own, and an error of its own where that is asked for."""
    return f"{outcome}, teardown failed" if mode == "error" else outcome


LATE = """
    import pytest
    from watcher import Watcher

    SAW = []

    @pytest.fixture
    def outer():
        yield
        # The verdict comes when everything of the test is over: here nothing was said or stopped yet.
        SAW.append("outer")

    @pytest.fixture
    def leaky(outer):
        watcher = Watcher().start()
        yield watcher
        assert watcher._thread.is_alive()
        SAW.append("leaky")

    def test_leaks(leaky): pass

    def test_all_was_torn_down():
        assert SAW == ["leaky", "outer"]
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_verdict_comes_after_all_teardown(run_plain, mode):
    inner = run_plain.watched(f"--gpuguard-leaks={mode}", "--gpuguard-reap", test_it=LATE)
    assert inner.outcomes == {"test_leaks": leaked("passed", mode), "test_all_was_torn_down": "passed"}


RERUN = """
    import pytest
    from watcher import Watcher

    RUNS = []

    def test_leaks():
        RUNS.append(1)
        Watcher().start()
        assert len(RUNS) == 1

    def test_is_clean(): pass

    FAILED = []

    def test_fails_once_and_is_clean():
        FAILED.append(1)
        assert len(FAILED) > 1
"""


@needs("pytest_rerunfailures")
@pytest.mark.parametrize("mode", MODES)
def test_rerunfailures_runs_nothing_again_for_a_leak(run_plain, mode):
    inner = run_plain.watched("--reruns=2", f"--gpuguard-leaks={mode}", test_it=RERUN)
    assert inner.outcomes == {
        "test_leaks": leaked("passed", mode),
        "test_is_clean": "passed",
        "test_fails_once_and_is_clean": "rerun, passed",
    }
    assert inner.leaking == {"test_leaks"}
    assert inner.ret == (mode == "error")


TIMEOUT = """
    import threading, time
    import pytest
    from watcher import Watcher

    def test_leaks_in_time():
        Watcher().start()

    @pytest.mark.timeout(0.5, method="signal")
    def test_is_late_and_leaks():
        Watcher().start()
        threading.Event().wait(60)

    @pytest.mark.timeout(0.5, method="signal")
    def test_is_late():
        threading.Event().wait(60)

    @pytest.mark.timeout(60, method="thread")
    def test_is_clean(): pass
"""


@needs("pytest_timeout")
@pytest.mark.parametrize("mode", MODES)
def test_timeout_keeps_its_own_failure(run_plain, mode):
    inner = run_plain.watched("--timeout=60", f"--gpuguard-leaks={mode}", test_it=TIMEOUT)
    assert inner.outcomes == {
        "test_leaks_in_time": leaked("passed", mode),
        "test_is_late_and_leaks": leaked("failed", mode),
        "test_is_late": "failed",
        "test_is_clean": "passed",
    }
    assert "Timeout (>0.5s) from pytest-timeout" in inner.text("test_is_late_and_leaks")
    assert inner.leaking == {"test_leaks_in_time", "test_is_late_and_leaks"}


FORKED = """
    import pytest
    from watcher import Watcher

    @pytest.fixture(scope="module")
    def wide():
        watcher = Watcher().start()
        yield watcher
        watcher.close()

    @pytest.mark.forked
    def test_leaks_in_a_child():
        Watcher().start()

    @pytest.mark.forked
    def test_fails_in_a_child():
        assert 1 == 2

    @pytest.mark.forked
    def test_is_clean_in_a_child(): pass

    def test_leaks():
        Watcher().start()

    def test_is_clean(wide): pass
"""


def _skip_where_forked_itself_fails(run_plain):
    bare = run_plain("-p", "no:gpuguard", "-k", "is_clean_in_a_child", test_it=FORKED)
    if bare.ret:
        said = bare.text("test_is_clean_in_a_child").partition("test_it.py")[2]
        pytest.skip(f"pytest-forked fails a clean test without us, on pytest {pytest.__version__}: {said}")


@needs("pytest_forked")
@pytest.mark.parametrize("mode", MODES)
def test_forked_children_are_not_judged_and_the_process_itself_is(run_plain, mode):
    _skip_where_forked_itself_fails(run_plain)
    inner = run_plain.watched(f"--gpuguard-leaks={mode}", test_it=FORKED)
    assert inner.outcomes == {
        "test_leaks_in_a_child": "passed",  # ended with its process: there is nothing left of it
        "test_fails_in_a_child": "failed",
        "test_is_clean_in_a_child": "passed",
        "test_leaks": leaked("passed", mode),
        "test_is_clean": "passed",
    }
    assert inner.leaking == {"test_leaks"}


@needs("pytest_forked")
def test_the_wait_for_a_forked_child_without_an_end_is_bounded(run_plain):
    _skip_where_forked_itself_fails(run_plain)
    inner = run_plain.watched(
        "--gpuguard-stall=0.5s",
        "--gpuguard-stall-end=1s",
        test_it="""
            import time
            import pytest

            @pytest.mark.forked
            def test_has_no_end():
                time.sleep(300)
        """,
    )
    assert inner.ret == 1
    assert "GPG601: test_it.py::test_has_no_end made no progress" in inner.err + inner.out
    assert "popen_fork.py" in inner.err + inner.out


PARALLEL = """
    import threading
    from watcher import Watcher

    def test_leaks():
        Watcher().start()

    def test_is_clean():
        watcher = Watcher().start()
        watcher.close()

    def test_fails():
        assert 1 == 2
"""


@needs("pytest_run_parallel")
@pytest.mark.parametrize("mode", MODES)
def test_run_parallel_threads_are_no_leak_and_theirs_are(run_plain, mode):
    inner = run_plain.watched("--parallel-threads=3", f"--gpuguard-leaks={mode}", test_it=PARALLEL)
    assert inner.outcomes == {
        "test_leaks": leaked("passed", mode),
        "test_is_clean": "passed",
        "test_fails": "failed",
    }
    assert inner.leaking == {"test_leaks"}
    (group,) = inner.report.groups
    assert group.totals.occurrences == 3


ASYNCIO = """
    import asyncio
    import pytest
    import pytest_asyncio
    from watcher import Watcher

    @pytest_asyncio.fixture
    async def leaky():
        return Watcher().start()

    @pytest_asyncio.fixture
    async def clean():
        watcher = Watcher().start()
        yield watcher
        await asyncio.to_thread(watcher.close)

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def wide():
        watcher = Watcher().start()
        yield watcher
        watcher.close()

    @pytest.mark.asyncio
    async def test_leaks(leaky): pass

    @pytest.mark.asyncio
    async def test_leaks_itself():
        await asyncio.sleep(0)
        Watcher().start()

    @pytest.mark.asyncio
    async def test_fails_and_leaks(leaky):
        assert 1 == 2

    @pytest.mark.asyncio
    async def test_is_clean(clean):
        await asyncio.to_thread(int)

    @pytest.mark.asyncio(loop_scope="module")
    async def test_wide(wide): pass

    @pytest.mark.asyncio(loop_scope="module")
    async def test_wide_again(wide): pass
"""


@needs("pytest_asyncio")
@pytest.mark.parametrize("mode", MODES)
def test_asyncio_fixtures_own_what_they_make(run_plain, mode):
    inner = run_plain.watched(f"--gpuguard-leaks={mode}", test_it=ASYNCIO)
    assert inner.outcomes == {
        "test_leaks": leaked("passed", mode),
        "test_leaks_itself": leaked("passed", mode),
        "test_fails_and_leaks": leaked("failed", mode),
        "test_is_clean": "passed",
        "test_wide": "passed",
        "test_wide_again": "passed",
    }
    assert owners(inner) == {
        ("test_leaks", "leaky"),
        ("test_fails_and_leaks", "leaky"),
        ("test_leaks_itself", None),
    }


def owners(inner):
    """Return the test and the fixture of each leak."""
    return {
        (leak.origin.nodeid.partition("::")[2], leak.origin.fixture and leak.origin.fixture.name)
        for group in inner.report.groups
        for leak in group.leaks
    }


ANYIO = """
    import anyio
    import pytest
    from watcher import Watcher

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def leaky():
        return Watcher().start()

    @pytest.fixture
    async def clean():
        watcher = Watcher().start()
        yield watcher
        watcher.close()

    async def test_leaks(leaky): pass

    async def test_leaks_itself():
        await anyio.sleep(0)
        Watcher().start()

    async def test_is_clean(clean):
        assert await anyio.to_thread.run_sync(int) == 0
"""


@needs("anyio")
@pytest.mark.parametrize("mode", MODES)
def test_anyio_fixtures_own_what_they_make(run_plain, mode):
    inner = run_plain.watched(f"--gpuguard-leaks={mode}", test_it=ANYIO)
    assert inner.outcomes == {
        "test_leaks": leaked("passed", mode),
        "test_leaks_itself": leaked("passed", mode),
        "test_is_clean": "passed",
    }
    assert owners(inner) == {("test_leaks", "leaky"), ("test_leaks_itself", None)}


FAKE_FILES = """
    import threading

    import pytest

    @pytest.fixture(scope="module")
    def wide():
        yield

    def test_leaks(fs, request):
        request.getfixturevalue("wide")
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_fails(fs):
        assert fs.exists("/there/is/none")

    def test_leaks_under_a_wider_one(fs_module):
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_leaks_afterwards():
        threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@needs("pyfakefs")
@pytest.mark.parametrize("mode", MODES)
def test_under_files_that_are_none_the_real_ones_are_read(run_plain, mode):
    inner = run_plain.watched(f"--gpuguard-leaks={mode}", test_it=FAKE_FILES)
    assert inner.outcomes == {
        "test_leaks": leaked("passed", mode),
        "test_fails": "failed",
        "test_leaks_under_a_wider_one": leaked("passed", mode),
        "test_leaks_afterwards": leaked("passed", mode),
    }
    assert "GPG901" not in inner.out
