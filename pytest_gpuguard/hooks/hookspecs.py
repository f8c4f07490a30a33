"""Hooks that others may implement."""

from __future__ import annotations

import pytest

__all__ = ["pytest_gpuguard_trim"]


@pytest.hookspec
def pytest_gpuguard_trim(config: pytest.Config) -> None:
    """Give back device and page-locked memory that is kept for later use.

    Called whenever a lease begins and before it is given back, so that it is worth what is really free. The
    queues of numba and the pools of CuPy and torch are emptied anyway.
    """
