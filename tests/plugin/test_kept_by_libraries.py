"""What libraries keep for good is counted as that and nobody's leak; what only looks like it is one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

KEEPERS = """
    import asyncio, multiprocessing, subprocess, sys, threading
    import pytest

    KEPT = []

    def test_monitor_of_tqdm():
        tqdm = pytest.importorskip("tqdm").tqdm
        assert list(tqdm(range(3), disable=False)) == [0, 1, 2]
        assert tqdm.monitor.is_alive()

    class TMonitor(threading.Thread):
        def __init__(self):
            super().__init__(daemon=True)
            self.over = threading.Event()
        def run(self):
            self.over.wait()

    def test_monitor_of_the_suite():
        TMonitor().start()

    def test_default_executor_of_a_loop():
        async def work():
            await asyncio.to_thread(int)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        test_default_executor_of_a_loop.kept = loop

    def test_executor_of_the_suite():
        from concurrent.futures import ThreadPoolExecutor
        test_executor_of_the_suite.kept = pool = ThreadPoolExecutor(1)
        pool.submit(int).result()

    def test_servers_of_multiprocessing():
        process = multiprocessing.get_context("forkserver").Process(target=int)
        process.start()
        process.join()

    def test_server_of_loky():
        # As its command line is: the library itself need not be there.
        code = "import sys; sys.stdin.read()  # from loky.backend.resource_tracker import main"
        # It ends with us, by its pipe.
        KEPT.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))

    def test_server_of_the_suite():
        KEPT.append(subprocess.Popen(["sleep", "1000"]))
"""


def test_threads_and_children_of_libraries(run):
    inner = run.watched("--gpuguard-reap", test_it=KEEPERS)
    assert set(inner.outcomes.values()) <= {"passed", "skipped"}
    leaks = {
        (leak.origin.nodeid.partition("::")[2], leak.kind)
        for group in inner.report.groups
        for leak in group.leaks
    }
    assert leaks == {
        ("test_monitor_of_the_suite", "thread"),
        ("test_executor_of_the_suite", "thread"),
        ("test_server_of_the_suite", "process"),
    }
    known = {probe.kind: probe.known for probe in inner.report.probes}
    skipped = inner.outcomes["test_monitor_of_tqdm"] == "skipped"
    assert (known["thread"], known["process"]) == (2 - skipped, 3)
    assert f"{5 - skipped} kept by libraries" in inner.out


FILES = """
    from multiprocessing import get_context

    KEPT = []

    def test_pipe_to_the_fork_server():
        process = get_context("forkserver").Process(target=int)
        process.start()
        process.join()
        process.close()

    def test_heap_of_multiprocessing():
        value, array = get_context("fork").Value("i", 1), get_context("fork").Array("d", 10)
        assert value.value == 1 and len(array) == 10

    def test_array_of_the_suite():
        # More than is left of what the heap has.
        KEPT.append(get_context("fork").Array("d", 1_000_000))
"""


def test_files_that_multiprocessing_keeps(run):
    inner = run.watched("--gpuguard-leak-kinds=fd", test_it=FILES)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.leaking == {"test_array_of_the_suite"}
    (probe,) = inner.report.probes
    assert probe.known >= 2


STANDIN = """
    import sys, types
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    def executor():
        made = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        assert list(made.map(int, "12")) == [1, 2]
        return made

    # loky's executor is one like this, in a module of this name.
    sys.modules["loky.reusable_executor"] = loky = types.ModuleType("loky.reusable_executor")
    KEPT = []

    def test_reusable_executor():
        loky._executor = executor()

    def test_executor_of_the_suite():
        KEPT.append(executor())
"""


def test_the_executor_that_loky_keeps_is_its_own_with_threads_and_children(run):
    inner = run.watched(test_it=STANDIN)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.leaking == {"test_executor_of_the_suite"}
    counted = {probe.kind: (probe.seen, probe.known) for probe in inner.report.probes}
    # Manager and feeder; two workers, and the resource tracker of multiprocessing once for each process.
    assert counted["thread"] == (4, 2)
    assert counted["process"][1] in {3, 4}


JOBLIB = """
    import math, pytest

    def test_parallel():
        joblib = pytest.importorskip("joblib", reason="joblib is not installed")
        call = joblib.delayed(math.sqrt)
        assert sum(joblib.Parallel(n_jobs=2)(call(number) for number in [1, 4, 9])) == 6

    def test_and_on_it_goes():
        test_parallel()

    def test_shut_down():
        pytest.importorskip("joblib", reason="joblib is not installed")
        from joblib.externals.loky import get_reusable_executor
        get_reusable_executor().shutdown(wait=True)
"""


def test_joblib_itself(run):
    inner = run.watched("--gpuguard-leak-kinds=thread,process,fd", test_it=JOBLIB)
    if set(inner.outcomes.values()) == {"skipped"}:
        pytest.skip("joblib is not installed")
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.groups == []
    assert all(probe.known >= 2 for probe in inner.report.probes if probe.kind in {"thread", "process", "fd"})


TRIO = """
    import threading
    import pytest

    trio = pytest.importorskip("trio", reason="trio is not installed")

    def test_abandoned():
        async def work():
            with trio.move_on_after(0.01):
                await trio.to_thread.run_sync(threading.Event().wait, abandon_on_cancel=True)
        trio.run(work)

    def test_idle():
        trio.run(trio.to_thread.run_sync, int)
"""


def test_trio_itself(run):
    inner = run.watched(test_it=TRIO)
    if not inner.outcomes:
        pytest.skip("trio is not installed")
    assert inner.leaking == {"test_abandoned"}
    assert next(probe for probe in inner.report.probes if probe.kind == "thread").known >= 1


CODE = """
#include <pthread.h>
#include <unistd.h>

static void *work(void *nothing) { for (;;) pause(); return nothing; }

void start(void) { pthread_t thread; pthread_create(&thread, 0, work, 0); }

__attribute__((constructor)) static void load(void) { start(); }
"""

NATIVE = """
    import ctypes

    LOADED = {}

    def load(name):
        LOADED[name] = ctypes.CDLL(f"./{name}.so")

    def test_a_library_starts_a_thread_when_it_is_loaded():
        load("libmine")

    def test_and_another_one_later():
        LOADED["libmine"].start()

    def test_a_library_with_a_pool_is_loaded():
        load("libgomp_like")

    def test_and_its_pool_grows():
        LOADED["libgomp_like"].start()
"""


def test_native_threads_of_libraries(run_plain):
    """A pool may grow at any time; of others only what the first import starts is there for good."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on PATH")
    folder = run_plain.pytester.path
    (folder / "lib.c").write_text(CODE)
    for name in ("libmine", "libgomp_like"):
        command = [compiler, "-shared", "-fPIC", "-pthread", "-o", f"{name}.so", "lib.c"]
        subprocess.run(command, cwd=folder, check=True)
    inner = run_plain.watched(test_it=NATIVE)
    (group,) = inner.report.groups
    (leak,) = group.leaks
    assert leak.origin.nodeid == "test_it.py::test_and_another_one_later"
    assert "libmine.so" in group.title
    assert next(probe for probe in inner.report.probes if probe.kind == "thread").known == 3
