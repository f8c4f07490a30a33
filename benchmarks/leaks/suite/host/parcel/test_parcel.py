"""Things of a package's fixtures."""

from __future__ import annotations

import pytest

from benchmarks.leaks.planting import clean, planted


@planted("thread", owner="package_watcher")
@pytest.mark.parametrize("n", [1, 2])
def test_package_fixture(package_watcher, n):
    assert package_watcher.thread.is_alive()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_package_fixture_that_closes(closing_package_watcher, n):
    assert closing_package_watcher.thread.is_alive()
