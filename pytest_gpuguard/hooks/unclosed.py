"""Hears of files that were dropped instead of closed: Python tells of them by warnings alone."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from pytest_gpuguard.track.descriptors import DescriptorProbe
    from pytest_gpuguard.track.probe import Probe

__all__ = ["Unclosed"]

#: Off by default in Python.
_MESSAGE = r"unclosed (file|<socket)"


class _Ear:
    """Stands in for ``warnings.showwarning``, and passes on all that it hears."""

    def __init__(self, show: Callable[..., object], tell: Callable[[str, FrameType | None], None]) -> None:
        self.show, self._tell = show, tell

    def __call__(self, message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, ResourceWarning):
            frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented cheap way
            while frame is not None and frame.f_globals.get("__name__") == "warnings":
                frame = frame.f_back
            self._tell(str(message), frame)
        self.show(message, category, *args, **kwargs)


class Unclosed:
    """Listens to the warnings of each test."""

    def __init__(self, probe: DescriptorProbe) -> None:
        self._probe = probe

    @classmethod
    def register(cls, config: pytest.Config, probes: Iterable[Probe]) -> None:
        """Listen for the probe of open files, if it is among ``probes``."""
        for probe in probes:
            if "fd" not in probe.kinds:
                continue
            from pytest_gpuguard.track.descriptors import DescriptorProbe

            if isinstance(probe, DescriptorProbe):
                listener = cls(probe)
                config.pluginmanager.register(listener, "gpuguard-unclosed")
                config.add_cleanup(listener.stop)
                if config.pluginmanager.hasplugin("warnings"):
                    config.add_cleanup(_have_them_shown())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        # In here pytest records the warnings of a test: it puts the function back when the test is over.
        if not isinstance(warnings.showwarning, _Ear):
            warnings.showwarning = _Ear(warnings.showwarning, self._probe.warned)

    def stop(self) -> None:
        """Listen no longer, where pytest's own record of warnings was switched off."""
        if isinstance(warnings.showwarning, _Ear):
            warnings.showwarning = warnings.showwarning.show  # type: ignore[assignment]


def _have_them_shown() -> Callable[[], None]:
    """Put our filter below all that the suite says of warnings, so that this counts; return how to undo it.

    Once: pytest begins each test with the filters in force, and puts those that it was given before these.
    """
    warnings.filterwarnings("always", _MESSAGE, ResourceWarning)
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    ours = filters[0]

    def undo() -> None:
        if ours in filters:
            filters.remove(ours)

    return undo
