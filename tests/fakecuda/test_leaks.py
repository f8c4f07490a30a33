"""Buffers, streams and events that tests leave behind, seen at numba's real driver entry points."""

from __future__ import annotations

import textwrap
from collections import Counter

import msgspec
import pytest

from pytest_gpuguard.report.model import RunReport
from tests.helpers.inner import WAYS

CONFTEST = """
    from numba import cuda
    # Before anything is watched: nobody's leak.
    EARLIER = [cuda.stream(), cuda.pinned_array(1000, "u1"), cuda.device_array(1000, "u1")]
"""

SUITE = """
    import gc, threading, weakref
    import numpy as np, pytest
    from numba import cuda
    from numba.cuda import pinned_array

    KEPT = []
    MIB = 1 << 20

    def everything():
        owned = np.zeros(MIB, "u1")
        registered = cuda.pinned(owned)
        registered.__enter__()
        return [
            cuda.stream(), cuda.stream(), cuda.event(), cuda.event(),
            pinned_array(2 * MIB, "u1"), cuda.mapped_array(3 * MIB, "u1"),
            cuda.device_array(4 * MIB, "u1"), cuda.to_device(np.zeros(5 * MIB, "u1")),
            cuda.managed_array(6 * MIB, "u1"), registered,
        ]

    @pytest.fixture
    def leaky():
        KEPT.append(everything())

    @pytest.fixture
    def clean():
        things = everything()
        yield
        things[-1].__exit__(None, None, None)

    def test_leaks(leaky): pass

    def test_is_clean_though_all_waits_in_queues(clean): pass

    def test_is_clean_with_a_cycle():
        ring = [cuda.device_array(MIB, "u1")]
        ring.append(ring)

    def test_views_keep_their_buffer():
        KEPT.append(cuda.device_array(MIB, "u1")[10:20])

    def test_immortal_by_a_table_of_finalizers():
        class Owner: pass
        owner, buffer = Owner(), pinned_array(MIB, "u1")
        KEPT.append(owner)
        weakref.finalize(owner, buffer.fill, 0)

    class Solver:
        def __init__(self):
            self.buffers = {}
        def solve(self, n):
            self.buffers[n] = (pinned_array(n, "u1"), cuda.device_array(n, "u1"), cuda.stream())

    @pytest.fixture(scope="module")
    def kept_solver():
        solver = Solver()
        yield solver
        solver.buffers.clear()

    def test_a_module_fixture_allocates_late(kept_solver):
        kept_solver.solve(1000)

    def test_a_module_fixture_allocates_again(kept_solver):
        kept_solver.solve(2000)

    @pytest.fixture(scope="module")
    def forgotten():
        KEPT.append(cuda.pinned_array(MIB, "u1"))

    def test_of_a_module_that_forgets(forgotten): pass

    def test_made_by_a_thread():
        def work():
            KEPT.append(cuda.event())
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def test_launch_with_host_arrays():
        @cuda.jit("void(float64[:])")
        def kernel(a):
            a[0] = 1
        kernel[1, 1](np.zeros(10))
"""

RESET = """
    from numba import cuda
    KEPT = []
    def test_leaks():
        KEPT.append([cuda.device_array(10), cuda.stream(), cuda.event()])
    def test_all_goes_with_the_context():
        KEPT.append([cuda.device_array(20), cuda.stream(), cuda.event()])
        cuda.close()
"""


@pytest.fixture(params=WAYS, ids=str)
def watched(request, fake_lane, tmp_path):
    """Run source texts in the fake lane, watched; return the record and what was said."""

    def run(*args, **files):
        folder = tmp_path / "suite"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        way = [
            *WAYS[request.param],
            "--gpuguard",
            "--gpuguard-settle=0.2s",
            f"--gpuguard-report={folder}/out",
        ]
        result = fake_lane.pytest(str(folder), "--rootdir", str(folder), *way, *args).check()
        return msgspec.json.decode((folder / "out/report.json").read_bytes(), type=RunReport), result.stdout

    return run


def _left(report):
    """Return how many of what were left by which test, with their bytes."""
    number, nbytes = Counter(), Counter()
    for group in report.groups:
        for leak in group.leaks:
            key = (leak.origin.nodeid.partition("::")[2], leak.what)
            number[key] += 1
            nbytes[key] += leak.nbytes
    return {key: (number[key], nbytes[key]) for key in number}


MIB = 1 << 20
PLANTED = {
    ("test_leaks", "stream"): (2, 0),
    ("test_leaks", "event"): (2, 0),
    ("test_leaks", "pinned buffer"): (1, 2 * MIB),
    ("test_leaks", "mapped buffer"): (1, 3 * MIB),
    ("test_leaks", "registered memory"): (1, MIB),
    ("test_leaks", "device memory"): (2, 9 * MIB),
    ("test_leaks", "managed memory"): (1, 6 * MIB),
    ("test_views_keep_their_buffer", "device memory"): (1, MIB),
    ("test_immortal_by_a_table_of_finalizers", "pinned buffer"): (1, MIB),
    ("test_of_a_module_that_forgets", "pinned buffer"): (1, MIB),
    ("test_made_by_a_thread", "event"): (1, 0),
}


def test_each_kind_is_reported_with_its_bytes_and_what_waits_in_a_queue_is_not(watched):
    report, said = watched("-v", conftest=CONFTEST, test_it=SUITE)
    assert _left(report) == PLANTED
    by_kind = {probe.kind: probe for probe in report.probes}
    processes = len(report.workers)
    assert by_kind["pinned"].known == by_kind["device"].known == by_kind["stream"].known == processes
    assert by_kind["event"].seen == 2 + 2 + 1  # all that was made, also what is long gone
    owners = {
        leak.judged_at: leak.origin.fixture.name
        for group in report.groups
        for leak in group.leaks
        if leak.origin.fixture
    }
    assert owners == {"function": "leaky", "module": "forgotten"}
    certainty = {
        leak.origin.certainty for group in report.groups for leak in group.leaks if leak.kind == "event"
    }
    assert certainty == {"exact", "inherited"}
    assert "seen by threading, " in said
    assert all("numba driver" in worker.watching for worker in report.workers)
    kinds = {leak.subject.__struct_config__.tag for group in report.groups for leak in group.leaks}
    assert kinds == {"pinned", "registered", "device", "stream", "event"}


def test_what_a_destroyed_context_took_with_it_is_no_leak(watched):
    report, _ = watched(test_it=RESET)
    assert _left(report) == {
        ("test_leaks", "device memory"): (1, 80),
        ("test_leaks", "stream"): (1, 0),
        ("test_leaks", "event"): (1, 0),
    }


REAPED = """
    import threading
    import pytest
    from numba import cuda
    from numba.cuda.cudadrv.driver import driver

    KEPT, MIB = [], 1 << 20
    pytestmark = pytest.mark.xdist_group("one worker")

    def raw():
        # As a library makes them that goes through numba's driver and loses them: no object stands for them.
        cuda.current_context()
        return [
            driver.cuMemAlloc(64 * MIB), driver.cuMemHostAlloc(MIB, 0),
            driver.cuStreamCreate(0), driver.cuEventCreate(0),
        ]

    @pytest.fixture(scope="module")
    def free_at_first():
        return cuda.current_context().get_memory_info().free

    def test_is_clean(free_at_first):
        device, host, stream, event = raw()
        driver.cuMemFree(device)
        driver.cuMemFreeHost(host)
        driver.cuStreamDestroy(stream)
        driver.cuEventDestroy(event)

    def test_loses_them(free_at_first):
        raw()
        assert cuda.current_context().get_memory_info().free <= free_at_first - 64 * MIB

    def test_device_memory_is_back(free_at_first):
        assert cuda.current_context().get_memory_info().free == free_at_first

    def test_keeps_them():
        KEPT.extend([cuda.device_array(10, "u1"), cuda.pinned_array(20, "u1"), cuda.stream(), cuda.event()])

    def test_what_is_kept_still_works():
        if KEPT:
            KEPT[0].copy_to_device(KEPT[1][:10], stream=KEPT[2])
            KEPT[3].record(KEPT[2])
            KEPT[3].synchronize()

    class Watcher:
        def __init__(self, buffer):
            self.over = threading.Event()
            threading.Thread(target=self.run, args=(buffer,), daemon=True).start()
        def run(self, buffer):
            self.over.wait()
        def close(self):
            self.over.set()

    def test_watcher_keeps_a_buffer():
        Watcher(cuda.pinned_array(MIB, "u1"))
"""


def test_what_nobody_points_to_is_freed_and_what_somebody_uses_is_left_alone(watched):
    report, _ = watched("--gpuguard-reap", test_it=REAPED)
    assert {test.outcome for test in report.tests} == {"passed"}
    done = {}
    for leak in (leak for group in report.groups for leak in group.leaks):
        done.setdefault(leak.origin.nodeid.partition("::")[2], {})[leak.kind] = leak.reaped
    kinds = ("device", "pinned", "stream", "event")
    held = "left alone: objects of the suite still point to it, and would read what was freed"
    assert done == {
        "test_loses_them": dict.fromkeys(kinds, "stopped: freed"),
        "test_keeps_them": dict.fromkeys(kinds, held),
        "test_watcher_keeps_a_buffer": {
            "thread": "stopped by Watcher.close()",
            "pinned": "stopped before its turn: freed with another leak",
        },
    }
