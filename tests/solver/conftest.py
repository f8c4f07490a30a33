"""What holds for every test of the solver."""

from __future__ import annotations

import pytest

from tests.solver.problems import eventually, writeback_threads


@pytest.fixture(autouse=True)
def no_thread_stays_behind():
    yield
    assert eventually(lambda: not writeback_threads()), writeback_threads()
