"""What a suite leaves on a device is reported as it is; what our own fixtures give is never reported."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.helpers.inner import WAYS, Runner

pytestmark = pytest.mark.usefixtures("gpu")

CONFTEST = """
    import json
    import pytest
    from numba import cuda
    from tests.fakecuda import control

    # After our own hook has given its verdict: what the driver itself counts.
    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(config):
        if control.is_loaded() and not hasattr(config, "workerinput"):
            context = cuda.current_context()
            context.memory_manager.deallocations.clear()
            context.deallocations.clear()
            driver = control.attach()
            live = {kind: driver.counter(kind)[:3] for kind in ("stream", "event", "pinned", "device")}
            open("driver.json", "w").write(json.dumps(live))
"""

DROPS = """
    import numpy as np
    import pytest
    from numba import cuda

    KEPT = []

    @pytest.fixture
    def dropping():
        KEPT.append((cuda.stream(), cuda.event(), cuda.event()))
        KEPT.append((cuda.pinned_array(3000, "u1"), cuda.device_array(5000, "u1")))
        KEPT.append(cuda.to_device(np.zeros(7000, "u1")))
        # These wait in both queues of numba, which it empties at the eleventh.
        for _ in range(3):
            cuda.stream(), cuda.event(), cuda.pinned_array(11000, "u1"), cuda.device_array(13000, "u1")

    def test_uses(dropping): pass

    def test_uses_again(dropping): pass

    def test_is_clean():
        cuda.stream(), cuda.event(), cuda.pinned_array(17000, "u1"), cuda.device_array(19000, "u1")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Start an inner run in the same lane, in one process."""
    return Runner(pytester, monkeypatch, WAYS["plain"])


def _left(report):
    number, nbytes = Counter(), Counter()
    for leak in (leak for group in report.groups for leak in group.leaks):
        number[leak.kind] += 1
        nbytes[leak.kind] += leak.nbytes
    return {kind: (number[kind], nbytes[kind]) for kind in number}


def test_each_kind_is_reported_with_its_number_and_bytes(run):
    inner = run.watched(conftest=CONFTEST, test_it=DROPS)
    left = _left(inner.report)
    assert left == {"stream": (2, 0), "event": (4, 0), "pinned": (2, 6000), "device": (4, 24000)}
    assert inner.leaking == {"test_uses", "test_uses_again"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {leak.origin.fixture.name for leak in leaks} == {"dropping"}
    truth = run.pytester.path / "driver.json"
    if truth.exists():
        live = json.loads(truth.read_text())
        assert {kind: (number, nbytes) for kind, (number, _, nbytes) in live.items()} == left
        assert {kind: total for kind, (_, total, _) in live.items()} == {
            "stream": 9, "event": 11, "pinned": 9, "device": 11,
        }  # fmt: skip


OURS = """
    import numpy as np
    import pytest
    from numba import cuda

    @pytest.mark.parametrize("n", range(2))
    def test_narrow(n, gpu, gpu_stream, gpu_event, pinned_array, gpu_memory_limit):
        host = pinned_array(1000)
        host[:] = n
        array = cuda.to_device(host, stream=gpu_stream)
        array.copy_to_host(pinned_array(1000), stream=gpu_stream)
        gpu_event.record(gpu_stream)
        with gpu_memory_limit("1 MiB"):
            assert gpu.free_bytes() <= 1 << 20

    @pytest.mark.parametrize("n", range(2))
    def test_wide(n, module_gpu_stream, session_gpu_stream, module_gpu_event, session_gpu_event,
                  module_pinned_array, session_pinned_array, module_gpu_closing):
        module_pinned_array(1000)[:] = n
        session_pinned_array(1000)[:] = n
        module_gpu_event.record(module_gpu_stream)
        session_gpu_event.record(session_gpu_stream)

    def test_fails(gpu_stream, pinned_array):
        kept, own = pinned_array(1000), cuda.device_array(1000)
        raise RuntimeError(f"with {len(kept)} elements in a frame of the traceback")
"""


LAUNCHES = """
    import numpy as np
    from numba import cuda

    @cuda.jit
    def double(array):
        array[cuda.grid(1)] *= 2

    def test_launches_in_a_stream_of_its_own():
        stream = cuda.stream()
        double[1, 4, stream](cuda.to_device(np.ones(4), stream=stream))
        stream.synchronize()

    def test_launches_in_ours(gpu_stream, gpu_event):
        double[1, 4, gpu_stream](cuda.to_device(np.ones(4), stream=gpu_stream))
        gpu_event.record(gpu_stream)
"""


@pytest.mark.usefixtures("compiled")
def test_streams_that_numba_remembers_for_the_next_launch_are_no_leak(run):
    inner = run.watched("--gpuguard-leaks=error", conftest=CONFTEST, test_it=LAUNCHES)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.groups == []


def test_what_fixtures_give_is_no_leak(run):
    inner = run.watched("--gpuguard-leaks=error", conftest=CONFTEST, test_it=OURS)
    assert inner.outcomes.pop("test_fails") == "failed"
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.groups == []
    seen = {probe.kind: probe.seen for probe in inner.report.probes}
    assert seen["pinned"] == 9
