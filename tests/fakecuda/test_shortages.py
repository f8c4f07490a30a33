"""Memory that runs out: the first time leaves a dossier of who had it, the rest is folded into that."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

WAYS = {"plain": ("-p", "no:xdist"), "n0": ("-n", "0"), "n2": ("-n", "2")}
MIB = 1 << 20

SUITE = """
    import os, time
    from pathlib import Path
    import pytest
    from numba import cuda

    @pytest.fixture(scope="module")
    def held():
        # So that there is somebody to be named.
        return [cuda.device_array(3 << 20, "u1"), cuda.pinned_array(2 << 20, "u1")]

    def test_small(held): pass

    @pytest.mark.parametrize("n", range(3))
    def test_device(held, n):
        cuda.device_array(9 << 20, "u1")

    @pytest.mark.parametrize("n", range(2))
    def test_pinned(held, n):
        cuda.pinned_array(9 << 20, "u1")

    def test_another_error(held):
        raise MemoryError("of the host")
"""


@pytest.mark.parametrize("way", WAYS)
def test_the_first_time_leaves_a_dossier_and_followers_are_folded(guarded, way):
    junit = guarded.folder / "junit.xml"
    limits = {"device_bytes": 8 * MIB, "pinned_bytes": 8 * MIB}
    result, report = guarded(SUITE, *WAYS[way], f"--junitxml={junit}", **limits)
    assert result.outcomes == {"failed": 6, "passed": 1}
    by_code = {fault.code: fault for fault in report.faults}
    assert [(f.kind, f.code) for f in sorted(report.faults, key=lambda f: f.code)] == [
        ("oom", "GPG404"),
        ("oom", "GPG405"),
    ]
    assert report.verdict.faults == 2
    assert len(by_code["GPG404"].followers) == 2
    assert len(by_code["GPG405"].followers) == 1
    assert by_code["GPG404"].nodeid not in by_code["GPG404"].followers
    for code, call in (("GPG404", "cuMemAlloc"), ("GPG405", "cuMemHostAlloc")):
        fault = by_code[code]
        assert f"Call to {call} results in CUDA_ERROR_OUT_OF_MEMORY" in fault.error
        text = (guarded.folder / "report" / fault.state).read_text()
        assert f"{code}: " in text
        assert fault.nodeid in text
        # Who has it: by the driver, by what is alive, by line.
        assert re.search(r"FakeCUDA device 0 \(GPU-.*\)  \d.* of 8\.0 MiB free", text)
        assert re.search(rf"pid \d+  {fault.worker}  \d", text)
        assert "has 3.0 MiB device in 1 buffer, by fixture `held` of test_" in text
        assert "has 2.0 MiB pinned in 1 buffer, by fixture `held` of test_" in text
        assert re.search(r"host  \d.* available", text)
    # In the report of the first test of each, and in no other.
    told = [
        failure.text
        for failure in ET.parse(junit).iter("failure")
        if "gpuguard: out of memory" in failure.text
    ]
    assert len(told) == 5
    assert len([text for text in told if "has 3.0 MiB device" in text]) == 2
    assert re.search(r"FAULT.*oom.*GPG404", result.stdout)
    assert "2 later failures for the same want" in result.stdout


def test_who_expects_it_leaves_nothing(guarded):
    result, report = guarded(
        """
        import pytest
        from numba import cuda

        def test_expects():
            with pytest.raises(Exception, match="OUT_OF_MEMORY"):
                cuda.device_array(9 << 20, "u1")

        @pytest.mark.xfail(reason="too large")
        def test_knows():
            cuda.device_array(9 << 20, "u1")
        """,
        device_bytes=8 * MIB,
    )
    assert result.check().outcomes == {"passed": 1, "xfailed": 1}
    assert report.faults == []
