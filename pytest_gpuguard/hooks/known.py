"""Leaks that are tolerated, by the mark ``known_leak`` or by the baseline: counted, never hidden."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.markers import carriers
from pytest_gpuguard.hooks.misspelt import did_you_mean
from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date
    from pathlib import Path

    from pytest_gpuguard.report.baseline import Baseline

__all__ = ["Known", "is_own"]

_TAKES = {"kind", "match", "reason", "issue"}


class Known(Plug):
    """Says of a leak why it is tolerated.

    Parameters
    ----------
    path
        The baseline; None without one.
    hook
        Asks other plugins.
    kinds
        The kinds of leak that there are.
    """

    def __init__(self, path: Path | None, hook: Any = None, kinds: Collection[str] = ()) -> None:
        self._path, self._hook, self._kinds = path, hook, kinds
        self._baseline: Baseline | None = None
        self.today: date = datetime.now(UTC).date()

    @property
    def baseline(self) -> Baseline:
        """The accepted leaks; none where the file is not there, which is said by :attr:`note`.

        Raises
        ------
        pytest.UsageError
            GPG502, when the file cannot be read.
        """
        from pytest_gpuguard.report.baseline import Baseline, read_baseline
        from pytest_gpuguard.report.reading import UnreadableError

        if self._baseline is None:
            try:
                encoded = self._path.read_bytes() if self._path is not None and self._path.exists() else None
                self._baseline = Baseline() if encoded is None else read_baseline(encoded, str(self._path))
            except (OSError, UnreadableError) as error:
                message = f"GPG502: the baseline cannot be used: {error}"
                raise pytest.UsageError(message) from None
        return self._baseline

    @property
    def note(self) -> str | None:
        """What people should know of the baseline."""
        if self._path is not None and not self._path.exists():
            return (
                f"the baseline {self._path.name} is not there yet: every leak is new "
                "(`gpuguard baseline accept` makes one)"
            )
        return None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        config, errors = session.config, dict[str, pytest.UsageError]()
        for item in carriers(session, {"known_leak"}):
            marks = item.iter_markers("known_leak")
            wrong = next(filter(None, (_wrong(mark, self._kinds) for mark in marks)), None)
            if wrong is not None:
                error = pytest.UsageError(f"GPG501: {item.nodeid}: mark known_leak: {wrong}")
                # Raised in a worker it would end the run as a fault of xdist's: there the test fails.
                if not hasattr(config, "workerinput"):
                    raise error
                errors[item.nodeid] = error
        if errors:
            config.pluginmanager.register(_Refusing(errors), "gpuguard-known-refusing")

    def mark(self, item: pytest.Item | None, leaks: list[dict[str, Any]]) -> None:
        """Note on each leak why it is tolerated, if it is; without a test where none is running any more."""
        for leak in leaks:
            by_mark = self._by_mark(item, leak) if item else None
            leak["known"] = by_mark or self._by_baseline(leak) or self._by_hook(leak)

    def _by_mark(self, item: pytest.Item, leak: dict[str, Any]) -> dict[str, Any] | None:
        for said in (
            mark.kwargs
            for node, mark in item.iter_markers_with_node("known_leak")
            if _reaches(node.nodeid, leak["judged_node"]) and not _wrong(mark, self._kinds)
        ):
            if said.get("kind") in {None, leak["kind"]} and _matches(said.get("match"), leak):
                issue = said.get("issue")
                return {"by": "marker", "reason": str(said["reason"]), "issue": issue and str(issue)}
        return None

    def _by_hook(self, leak: dict[str, Any]) -> dict[str, Any] | None:
        reason = self._hook.pytest_gpuguard_ignore_leak(leak=leak) if self._hook is not None else None
        return {"by": "hook", "reason": str(reason)} if reason else None

    def _by_baseline(self, leak: dict[str, Any]) -> dict[str, Any] | None:
        if self._path is None:
            return None
        from pytest_gpuguard.report.build import group_payload

        (group,) = group_payload([leak])
        entry = self.baseline.find(group.fingerprint, self.today)
        if entry is None:
            return None
        return {"by": "baseline", "reason": entry.reason, "issue": entry.issue, "until": entry.until}


class _Refusing(Plug):
    """Fails the tests with a wrong mark; there only where there are any."""

    def __init__(self, errors: dict[str, pytest.UsageError]) -> None:
        self._errors = errors

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.nodeid in self._errors:
            raise self._errors[item.nodeid]


def is_own(leak: dict[str, Any], nodeid: str) -> bool:
    """Return whether a leak counts against a test: it is the test's own, and nobody tolerates it."""
    return leak["judged_at"] == "function" and leak["judged_node"] == nodeid and not leak.get("known")


def _wrong(mark: pytest.Mark, kinds: Collection[str]) -> str | None:
    """Return what is wrong with a mark."""
    unknown = sorted(set(mark.kwargs) - _TAKES)
    if mark.args:
        return f"takes keywords only, got {', '.join(map(repr, mark.args))}"
    if unknown:
        return f"does not know {', '.join(unknown)}; it takes {', '.join(sorted(_TAKES))}"
    if not str(mark.kwargs.get("reason") or "").strip():
        return "wants a reason: known_leak(reason='...')"
    kind = mark.kwargs.get("kind")
    if kind is not None and str(kind) not in kinds:
        return (
            f"there is no kind {kind!r}{did_you_mean(str(kind), kinds)}; there are {', '.join(sorted(kinds))}"
        )
    try:
        re.compile(mark.kwargs.get("match") or "")
    except (re.error, TypeError) as error:
        return f"match is no regular expression: {error}"
    return None


def _reaches(node: str, owner: str) -> bool:
    """Return whether a mark on ``node`` is for what that owns: it, or what is in it.

    What is found at the end of a test may be a wider fixture's, which has nothing to do with the test's mark.
    """
    return not node or owner == node or owner.startswith((f"{node}::", f"{node}/"))


def _matches(pattern: str | None, leak: dict[str, Any]) -> bool:
    if not pattern:
        return True
    places = [f"{frame['file']} {frame['function']}" for frame in leak["created"]]
    texts = [leak["title"], leak["what"], str(leak["subject"].get("name", "")), *places]
    return any(re.search(pattern, text) for text in texts)
