"""The ``pytest11`` entry point: registers options and a role, decides nothing, imports nothing heavy."""

from __future__ import annotations

import pytest

from pytest_gpuguard.hooks.options import register
from pytest_gpuguard.hooks.settings import is_active

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    register(parser)


# After pytest's own plugins: their thread hook is then in force already, and ours is put before it.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if is_active(config):
        from pytest_gpuguard.hooks.roles import activate

        activate(config)
