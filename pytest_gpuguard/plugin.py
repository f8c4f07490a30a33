"""The ``pytest11`` entry point: registers options and a role, decides nothing, imports nothing heavy."""

from __future__ import annotations

import pytest

from pytest_gpuguard.hooks.options import register
from pytest_gpuguard.hooks.settings import is_active

__all__ = ["pytest_addoption", "pytest_sessionstart"]


def pytest_addoption(parser: pytest.Parser) -> None:
    register(parser)


# Not when pytest is configured: it is so for --help and --markers too, where there is nothing to watch. And
# pytest's own thread hook is in force by now: ours is put before it.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if is_active(session.config):
        from pytest_gpuguard.hooks.roles import activate

        activate(session.config)
