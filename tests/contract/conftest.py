"""The contract of fixtures and solver with a device: one set of tests for every lane.

Which lane is decided by the process: the simulator in a plain run, the fake driver and none in children that
`tests/fakecuda/test_contract.py` starts, a GPU by `make test-gpu`.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from tests.fakecuda import control

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[None]:
    """Bodies for kernels in the fake lane; anywhere else they have their own."""
    if not control.is_loaded() or importlib.util.find_spec("nvidia") is None:
        yield
        return
    from tests.fakecuda.kernels import HostKernels

    with HostKernels(control.attach()) as bodies:
        yield
    assert bodies.unknown == []


@pytest.fixture
def compiled() -> None:
    """Skip where kernels cannot be compiled."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        pytest.importorskip("nvidia", reason="no CUDA compiler (extra 'compile')")
