"""Fixtures of the package: pytest takes it for one only where they stand in its conftest."""

from __future__ import annotations

import pytest

from benchmarks.leaks.planting import Stoppable, left


@pytest.fixture(scope="package")
def package_watcher():
    return left()


@pytest.fixture(scope="package")
def closing_package_watcher():
    watcher = Stoppable().start()
    yield watcher
    watcher.close()
