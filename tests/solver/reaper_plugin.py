"""A pytest plugin that stops what each test left behind, the least that a leak detector with reaping does."""

from __future__ import annotations

import threading

import pytest

from solver.pipeline.faults import WritebackWatcher as ImmortalWatcher

spared: list[ImmortalWatcher] = []
reaped: list[str] = []


def owners() -> list[ImmortalWatcher]:
    """Return whose methods the live threads run."""
    found = [getattr(getattr(thread, "_target", None), "__self__", None) for thread in threading.enumerate()]
    return [owner for owner in found if isinstance(owner, ImmortalWatcher)]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    before = owners()
    result = yield
    if fixturedef.scope == "session":
        spared.extend(owner for owner in owners() if owner not in before)
    return result


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        for owner in owners():
            if owner not in spared:
                owner.shutdown()
                reaped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"reaped {len(reaped)}")
