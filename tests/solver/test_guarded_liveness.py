"""Pipelines by chance under the plugin: it sees all threads, buffers and events, and none at the end."""

from __future__ import annotations

import pytest

from tests.helpers.inner import WAYS, Runner
from tests.solver.pipelines_suite import PER_TEST, PIPELINES, PLANTS

KINDS = {"thread", "pinned", "device", "stream", "event"}
CODES = {"thread": "GPG101", "pinned": "GPG201", "event": "GPG204"}


@pytest.fixture
def guarded(pytester, monkeypatch):
    """Run the suite of pipelines under the plugin; what is left behind is an error."""
    pytester.makepyfile(test_pipelines="from tests.solver.pipelines_suite import *")
    pytester.makeini("[pytest]\nmarkers =\n  soak\n")

    def run(way: str, *chosen: str, timeout: float = 300):
        runner = Runner(pytester, monkeypatch, WAYS[way])
        return runner("--gpuguard", "--gpuguard-leaks=error", "-v", *chosen, timeout=timeout)

    return run


def seen(inner) -> dict[str, int]:
    assert not any(probe.unable for probe in inner.report.probes if probe.kind in KINDS)
    return {probe.kind: probe.seen for probe in inner.report.probes}


def assert_nothing_left(inner, tests: int, pipelines: int) -> None:
    assert inner.ret == 0, inner.out
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.outcomes) == tests
    assert inner.report.groups == []
    assert "nothing left behind" in " ".join(inner.out.split())
    # A few end before their first thread or buffer, none before three streams; most have several.
    assert seen(inner)["stream"] >= 3 * pipelines
    assert min(seen(inner)[kind] for kind in KINDS) > pipelines


def test_a_thousand_pipelines_leave_nothing(guarded):
    inner = guarded("plain", "-m", "not soak", "-k", "not planted")
    assert_nothing_left(inner, PIPELINES // PER_TEST + 3, PIPELINES + 30)


@pytest.mark.soak
def test_a_thousand_pipelines_in_real_time_leave_nothing(guarded):
    inner = guarded("n2", "-m", "soak", timeout=1800)
    assert_nothing_left(inner, PIPELINES // PER_TEST, PIPELINES)


def test_a_pipeline_that_leaves_something_is_named(guarded):
    """The check can fail: what is planted is reported, with its test, by its kind, and as an error."""
    inner = guarded("plain", "--gpuguard-settle=0.3s", "-k", "planted")
    assert inner.ret == 1, inner.out
    assert inner.outcomes == {f"test_planted[{kind}]": "passed, teardown failed" for kind in PLANTS}
    for kind in PLANTS:
        groups = [g for g in inner.report.groups if g.leaks[0].origin.nodeid.endswith(f"[{kind}]")]
        assert CODES[kind] in {group.code for group in groups}, inner.out
