"""Every test of the plugin runs three ways: without xdist, with ``-n 0`` and with ``-n 2``."""

from __future__ import annotations

import pytest

from tests.helpers.inner import WAYS, Runner


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def run(way: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(pytester, monkeypatch, WAYS[way])


@pytest.fixture
def run_plain(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """For what cannot depend on the distribution: help, wrong settings, what one process restores."""
    return Runner(pytester, monkeypatch, WAYS["plain"])


@pytest.fixture
def run_two(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """For what only two processes can do: wait for each other, crash alone."""
    return Runner(pytester, monkeypatch, WAYS["n2"])
