"""What is done once in a process, when its first test is about to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["First"]


class First(Plug):
    """Does all of ``steps`` before anything else is done for the first test; its hook is gone afterwards."""

    def __init__(self, config: pytest.Config, *steps: Callable[[], object]) -> None:
        self._plugins, self._steps = config.pluginmanager, steps

    def register(self) -> None:
        """Wait for the first test: as the plugin that came last, so the first of all that are outermost."""
        self._plugins.register(self, "gpuguard-first")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._plugins.unregister(self)
        for step in self._steps:
            step()
        return (yield)
