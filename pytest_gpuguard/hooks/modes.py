"""What the tests ran on, and which did not run for want of a device: one line before, one line after."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.devices.modes import mode_here
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.report.lines import count, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gpuguard.hooks.settings import Settings

__all__ = ["Modes"]

_MOST_REASONS = 3
_LONGEST = 160


class Modes(Plug):
    """The part of who sums up that counts skips.

    Parameters
    ----------
    settings
        The switches in force.
    notes
        Where what people should know is put.
    tests
        Returns how many tests have run.
    """

    def __init__(self, settings: Settings, notes: list[str], tests: Callable[[], int]) -> None:
        self._required, self._notes, self._tests = settings.require == "gpu", notes, tests
        self._reasons: dict[str, str] = {}

    def pytest_report_header(self) -> str:
        mode, evidence = mode_here()
        required = ", required: gpu" if self._required else ""
        return printable(f"gpuguard: mode {mode}{required} ({evidence})")

    def reported(self, report: pytest.TestReport) -> None:
        """Hear of a report; those that have passed may be left out."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._see(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._see(report)

    def _see(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if isinstance(report.longrepr, tuple):
            from pytest_gpuguard.plan.wants import is_want

            reason = " ".join(str(report.longrepr[2]).removeprefix("Skipped:").split())
            if is_want(reason):
                self._reasons[report.nodeid] = reason

    # Before who builds the record.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if not self._reasons:
            return
        reasons = Counter(self._reasons.values()).most_common()
        shown = [f"{reason[:_LONGEST]} ({number})" for reason, number in reasons[:_MOST_REASONS]]
        if len(reasons) > _MOST_REASONS:
            shown.append(f"and {count(len(reasons) - _MOST_REASONS, 'other reason')}")
        self._notes.append(f"mode {mode_here()[0]}: {self._skipped} for want of a device: {'; '.join(shown)}")

    @property
    def _skipped(self) -> str:
        modules = sum("::" not in nodeid for nodeid in self._reasons)
        tests = f"{len(self._reasons) - modules} of {count(self._tests(), 'test')}"
        return f"{tests} and {count(modules, 'module')} skipped" if modules else f"{tests} skipped"

    def unmet(self, used: Iterable[str]) -> list[str]:
        """Return why the run fails, if a device was required.

        Parameters
        ----------
        used
            The modes of all processes in which tests ran.
        """
        if not self._required:
            return []
        found = []
        if self._reasons:
            found.append(f"GPG406: require=gpu, and {self._skipped} for want of a device")
        # Workers that got no test that uses a device say nothing of those that did.
        modes = sorted(set(used) - {"none"})
        if "gpu" not in modes:
            seen = f"mode {', '.join(modes) or 'none'}, {mode_here()[1]}"
            found.append(f"GPG406: require=gpu, and no test used a real device ({seen})")
        return found
