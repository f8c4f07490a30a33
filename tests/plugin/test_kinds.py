"""Every kind of leak has a planted defect that is found and a clean twin that is not."""

from __future__ import annotations

from collections import Counter

SIMULATED = """
    import numpy as np, pytest
    from numba import cuda
    from numba.cuda import event, stream

    KEPT = []

    def everything():
        registered = cuda.pinned(np.zeros(100, "u1"))
        registered.__enter__()
        return [
            stream(), event(), cuda.pinned_array(200, "u1"), cuda.mapped_array(300, "u1"),
            cuda.device_array(400, "u1"), cuda.to_device(np.zeros(500, "u1")), registered,
        ]

    @pytest.fixture
    def leaky():
        KEPT.append(everything())

    @pytest.fixture
    def clean():
        things = everything()
        yield things
        things[-1].__exit__(None, None, None)

    def test_leaks(leaky): pass

    def test_is_clean(clean): pass

    def test_a_default_stream_is_nobodys():
        KEPT.append([cuda.default_stream(), cuda.per_thread_default_stream()])
        assert isinstance(KEPT[-1][0], cuda.stream)

    def test_a_view_keeps_its_buffer():
        KEPT.append([cuda.pinned_array(700, "u1")[3:5], cuda.to_device(np.zeros(800, "u1"))[3:5]])

    class Solver:
        def __init__(self):
            self.buffers = {}
        def solve(self, n):
            self.buffers[n] = (cuda.pinned_array(n, "u1"), cuda.to_device(np.zeros(n)), cuda.stream())

    @pytest.fixture(scope="module")
    def solver():
        solver = Solver()
        yield solver
        solver.buffers.clear()

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_module_fixture_allocates_late(solver, n):
        solver.solve(n)

    def test_threads_of_a_kernel_are_left_to_numba():
        @cuda.jit
        def kernel(a):
            a[cuda.grid(1)] += 1
        a = np.zeros(8)
        kernel[2, 4](a)
        assert a.sum() == 8
"""


def left(inner):
    """Return how many of what were left by which test, with their bytes."""
    number, nbytes = Counter(), Counter()
    for group in inner.report.groups:
        for leak in group.leaks:
            key = (leak.origin.nodeid.partition("::")[2], leak.what)
            number[key] += 1
            nbytes[key] += leak.nbytes
    return {key: (number[key], nbytes[key]) for key in number}


def test_what_the_simulator_makes(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched("-v", test_it=SIMULATED)
    assert set(inner.outcomes.values()) == {"passed"}
    assert left(inner) == {
        ("test_leaks", "stream"): (1, 0),
        ("test_leaks", "event"): (1, 0),
        ("test_leaks", "pinned buffer"): (1, 200),
        ("test_leaks", "mapped buffer"): (1, 300),
        ("test_leaks", "registered memory"): (1, 100),
        ("test_leaks", "device memory"): (2, 900),
        ("test_a_view_keeps_its_buffer", "pinned buffer"): (1, 700),
        ("test_a_view_keeps_its_buffer", "device memory"): (1, 800),
    }
    seen = {probe.kind: probe.seen for probe in inner.report.probes}
    assert (seen["thread"], seen["event"]) == (0, 2)
    assert "gpuguard: seen by threading, numba simulator" in inner.out


LATE = """
    import sys

    def test_imports_by_itself():
        assert "numba" not in sys.modules
        from numba import cuda
        test_imports_by_itself.kept = cuda.pinned_array(10)
"""


def test_numba_is_seen_when_a_test_imports_it_and_never_imported_first(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(test_it=LATE)
    assert left(inner) == {("test_imports_by_itself", "pinned buffer"): (1, 80)}


def test_only_the_kinds_that_are_asked_for_are_watched(run_plain):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run_plain.watched("--gpuguard-leak-kinds=stream,event", test_it=SIMULATED)
    assert {what for _, what in left(inner)} == {"stream", "event"}, inner.out
    assert [probe.kind for probe in inner.report.probes] == ["stream", "event"]


def test_a_kind_that_is_none_is_refused_with_those_that_are(run_plain):
    inner = run_plain.watched("--gpuguard-leak-kinds=thread,fds", test_it="def test_it(): pass")
    assert inner.ret == 4
    assert "'thread,fds' is no list of kinds; there are device, event, fd, memory" in inner.err + inner.out
