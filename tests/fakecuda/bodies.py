"""A pytest plugin, ``-p tests.fakecuda.bodies``: in the fake lane kernels compute what they should."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING

from tests.fakecuda import control

if TYPE_CHECKING:
    import pytest

    from tests.fakecuda.kernels import HostKernels

__all__ = ["bodies", "pytest_configure"]


def bodies() -> contextlib.AbstractContextManager[HostKernels | None]:
    """Return bodies for all kernels of this process, or None.

    In other lanes kernels have their own, and without the compilers that numba-cuda needs there are none.
    """
    if not control.is_loaded() or importlib.util.find_spec("nvidia") is None:
        return contextlib.nullcontext()
    from tests.fakecuda.kernels import HostKernels

    return HostKernels(control.attach())


def pytest_configure(config: pytest.Config) -> None:
    """Give kernels bodies for the whole run."""
    stack = contextlib.ExitStack()
    stack.enter_context(bodies())
    config.add_cleanup(stack.close)
