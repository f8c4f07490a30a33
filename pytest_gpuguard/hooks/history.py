"""Measures what tests take and use, and keeps it in pytest's cache for the runs to come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuguard.hooks.affinity import SEEN
from pytest_gpuguard.hooks.cache import folder_in_cache
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.runfolder import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import pytest

    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.history import History, Measured
    from pytest_gpuguard.report.model import TestSpan

__all__ = ["Remembering", "remembered", "remembered_in"]

_SHOWN = 10
#: The folder in the cache, and the file in that: what the cache writes itself it takes apart value by value.
_FOLDER, _FILE = "gpuguard-history", "history.json"


def remembered(config: pytest.Config) -> History:
    """Return what runs before this one have measured."""
    return _read(_place(config))


def remembered_in(cache: Path) -> History:
    """Return the same before pytest has opened its cache, which is that folder."""
    return _read(cache / "d" / _FOLDER / _FILE)


def _place(config: pytest.Config) -> Path | None:
    folder = folder_in_cache(config, _FOLDER, to_read=True)
    return None if folder is None else folder / _FILE


def _read(place: Path | None) -> History:
    from pytest_gpuguard.plan.history import read_history

    encoded = b""
    with contextlib.suppress(OSError):  # the first run
        encoded = b"" if place is None else place.read_bytes()
    return read_history(encoded)


class Remembering(Plug):
    """The part of the process that sums up.

    Parameters
    ----------
    config, settings
        The run.
    notes
        Gets what people should know.
    spans
        Returns what is known of each test.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        notes: list[str],
        spans: Callable[[], Collection[TestSpan]],
    ) -> None:
        self._config, self._profile, self._notes, self._spans = config, settings.profile, notes, spans
        self._shared: set[str] = set()
        # Fixtures alone take less than their tests, and whoever debugs takes his time.
        self._tells = not config.getoption("setuponly", False)

    def pytest_enter_pdb(self) -> None:
        self._tells = False

    def reported(self, report: pytest.TestReport) -> None:
        """Take the names of session fixtures with parameters, of which workers have heard."""
        self._shared.update(getattr(report, SEEN, ()))

    # Not a wrapper: the record, with these notes in it, is made when all of these are over.
    def pytest_sessionfinish(self) -> None:
        from pytest_gpuguard.plan.history import Measured, suggestions, wrong_claims

        spans = self._spans()
        used = {
            span.nodeid: Measured(span.peak, span.reserved) for span in spans if span.peak or span.reserved
        }
        self._keep(spans, used)
        lines = wrong_claims(used)
        self._notes += lines[:_SHOWN]
        if len(lines) > _SHOWN:
            self._notes.append(f"{len(lines) - _SHOWN} more claims are far from what was used")
        if self._profile is not None:
            try:
                self._profile.write_text(suggestions(used), encoding="utf-8")
            except OSError as problem:
                self._notes.append(f"the profile could not be written: {problem}")

    def _keep(self, spans: Collection[TestSpan], used: dict[str, Measured]) -> None:
        from pytest_gpuguard.plan.history import stored

        place = _place(self._config)
        if place is None or not spans or not self._tells:
            return
        history = _read(place)
        seconds = {span.nodeid: span.stop - span.start for span in spans if _ran(span, history)}
        history.learn(seconds, used, self._shared)
        try:
            write_whole(place, stored(history))
        except OSError as problem:
            self._notes.append(f"what tests take could not be kept: {problem}")


def _ran(span: TestSpan, history: History) -> bool:
    """Return whether a test has run: a skip is over at once, an expected failure that looks so is not."""
    return span.outcome != "skipped" or span.stop - span.start >= history.seconds.get(span.nodeid, 0)
