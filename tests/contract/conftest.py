"""The contract of fixtures and solver with a device: one set of tests for every lane.

Which lane is decided by the process: the simulator in a plain run, the fake driver and none in children that
`tests/fakecuda/test_contract.py` starts, a GPU by `make test-gpu`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.fakecuda.bodies import bodies

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[None]:
    """Bodies for kernels where they have none of their own."""
    with bodies() as found:
        yield
    assert found is None or found.unknown == []


@pytest.fixture
def compiled() -> None:
    """Skip where kernels cannot be compiled."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        pytest.importorskip("nvidia", reason="no CUDA compiler (extra 'compile')")
