"""Runs of pytest inside of tests: real processes, in a known environment, with an end."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_gpuguard.report.model import RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

__all__ = ["QUICK", "WAYS", "Inner", "Runner"]

#: For every run of pytest inside of a test: this plugin imports all of hypothesis at the end of each process,
#: a quarter of what a small run takes. No suite inside of a test uses it.
QUICK = ["-p", "no:hypothesispytest"]

#: The three ways in which every test of the plugin runs.
WAYS = {"plain": ["-p", "no:xdist"], "n0": ["-n", "0"], "n2": ["-n", "2"]}

_SETTINGS = re.compile(r"GPUGUARD.*|GITHUB_.*|CI|PYTEST_.*|COLUMNS|FORCE_COLOR|NO_COLOR")
_HELPERS = str(Path(__file__).parent)


@dataclass
class Inner:
    """One finished inner run."""

    ret: int
    out: str
    err: str
    folder: Path
    phases: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def report(self) -> RunReport:
        """The record, read through the model: what it does not accept is no record."""
        (path,) = (self.folder / ".pytest_cache" / "d" / "gpuguard").glob("*/report.json")
        return msgspec.json.decode(path.read_bytes(), type=RunReport)

    @property
    def stacks(self) -> dict[str, str]:
        """The stacks that were written, by file name."""
        paths = (self.folder / ".pytest_cache" / "d" / "gpuguard").glob("*/stacks/*")
        return {path.name: path.read_text() for path in paths}

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """What became of each test by name, ``"passed"``, or such as ``"failed, teardown failed"``."""
        found: dict[str, list[str]] = defaultdict(list)
        for phase in self.phases:
            name, outcome = _name(phase["nodeid"]), phase["outcome"]
            if phase["when"] == "call":
                found[name].append("x" + outcome if phase["xfail"] else outcome)
            elif outcome != "passed":
                found[name].append(f"{phase['when']} {outcome}")
        return {name: ", ".join(entries) for name, entries in found.items()}

    def text(self, name: str) -> str:
        """Return everything that the reports of a test say."""
        mine = [phase for phase in self.phases if _name(phase["nodeid"]) == name]
        sections = [text for phase in mine for _, text in phase["sections"]]
        return "\n".join([*(phase["text"] for phase in mine), *sections])

    @property
    def leaking(self) -> set[str]:
        """Names of the tests in which something was made that leaked."""
        return {_name(leak.origin.nodeid) for group in self.report.groups for leak in group.leaks}

    @property
    def section(self) -> list[str]:
        """The lines of the plugin's terminal section."""
        lines = self.out.splitlines()
        starts = [number for number, line in enumerate(lines) if re.fullmatch(r"=+ gpuguard =+", line)]
        if not starts:
            return []
        body = lines[starts[0] + 1 :]
        return body[: next((n for n, line in enumerate(body) if line.startswith("===")), len(body))]


def _name(nodeid: str) -> str:
    return nodeid.partition("::")[2]


class Runner:
    """Starts inner runs in the folder of a :class:`pytest.Pytester`.

    Parameters
    ----------
    pytester, monkeypatch
        The outer test's.
    way
        The arguments that choose how tests are distributed.
    """

    def __init__(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: Sequence[str]
    ) -> None:
        self.pytester, self.way, self._monkeypatch = pytester, list(way), monkeypatch
        for variable in [name for name in os.environ if _SETTINGS.fullmatch(name)]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("PYTHONPATH", _HELPERS)
        monkeypatch.setenv("COLUMNS", "80")
        self._record = pytester.path / "outcomes.json"
        monkeypatch.setenv("RECORD", str(self._record))

    def __call__(self, *args: str, timeout: float = 100, **files: str) -> Inner:
        """Write ``files`` (name without ``.py`` to source), run pytest, and return what happened."""
        if files:
            self.pytester.makepyfile(**files)
        self._record.unlink(missing_ok=True)
        command = [*self.way, *QUICK, "-p", "recorder", *args]
        done = self.pytester.runpytest_subprocess(*command, timeout=timeout)
        phases = json.loads(self._record.read_text()) if self._record.exists() else []
        return Inner(int(done.ret), done.stdout.str(), done.stderr.str(), self.pytester.path, phases)

    def watched(self, *args: str, timeout: float = 100, **files: str) -> Inner:
        """Run with the plugin active and a short settle."""
        return self("--gpuguard", "--gpuguard-settle=0.2s", *args, timeout=timeout, **files)

    def setenv(self, name: str, value: str) -> None:
        """Set a variable for the inner runs."""
        self._monkeypatch.setenv(name, value)
