"""What a run would have shown: a leak that it does not have is gone only where it was looked for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pytest_gpuguard.report.model import RunReport

__all__ = ["would_show"]

#: A test that was run again and passed then has the first of them.
_TO_THE_END = frozenset({"rerun", "passed"})


def would_show(report: RunReport) -> Callable[[str, Collection[str]], bool]:
    """Return what says whether a leak of one kind, left by any of these tests, would be in the record.

    That is so where its kind was watched, and one of them passed: one that failed may not have come so far.
    """
    leaks = report.settings.get("leaks")
    is_off = leaks is not None and leaks.value == "off"
    kinds = set() if is_off else {probe.kind for probe in report.probes if probe.unable is None}
    ran = {span.nodeid for span in report.tests if span.outcome in _TO_THE_END}

    def shows(kind: str, tests: Collection[str]) -> bool:
        return kind in kinds and not ran.isdisjoint(tests)

    return shows
