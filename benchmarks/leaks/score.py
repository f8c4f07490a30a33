"""From what a tool said to figures: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.leaks.planting import OWN_FAILURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Case", "Finding", "Score", "cases", "score", "spoken", "written"]


@dataclass(frozen=True, slots=True)
class Case:
    """One planted leak or clean look-alike: all tests that take part in it."""

    name: str
    role: str
    tests: frozenset[str]
    kind: str = ""
    owner: str | None = None
    also: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A tool blames a test; kind and owner only where it tells them.

    ``wide`` says that the owner is a fixture of more than one test: then the fixture is blamed and no test.
    """

    test: str
    kind: str | None = None
    owner: str | None = None
    wide: bool = False
    title: str = ""


@dataclass(slots=True)
class Score:
    """What a tool got right and wrong, by case; ``by_kind`` counts found of planted."""

    found: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    false_alarms: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    clean: int = 0

    @property
    def perfect(self) -> bool:
        """Whether everything was found and nobody else was blamed."""
        return not (self.missed or self.false_alarms or self.wrong)

    def add(self, other: Score) -> None:
        """Add another part of the suite."""
        self.found |= other.found
        self.missed |= other.missed
        self.false_alarms |= other.false_alarms
        self.wrong |= other.wrong
        self.clean += other.clean


def cases(entries: Iterable[Mapping[str, Any]]) -> list[Case]:
    """Return the cases of the marked tests; tests with one leaky fixture, or one function, are one case."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        path, _, name = entry["nodeid"].partition("::")
        key = entry.get("owner") or name.partition("[")[0]
        found.setdefault((path, key), []).append(entry)
    return [
        Case(
            f"{path}::{key}",
            group[0]["role"],
            frozenset(entry["nodeid"] for entry in group),
            group[0].get("kind", ""),
            group[0].get("owner"),
            frozenset(group[0].get("also", ())),
        )
        for (path, key), group in found.items()
    ]


def spoken(failures: Iterable[Mapping[str, str]]) -> list[Finding]:
    """Return the findings of a tool that fails tests; a planted failure alone blames nobody."""
    return [Finding(failure["nodeid"]) for failure in failures if OWN_FAILURE not in failure["text"]]


def written(report: Mapping[str, Any]) -> list[Finding]:
    """Return the findings of our record."""
    return [
        Finding(
            leak["origin"]["nodeid"],
            leak["kind"],
            (leak["origin"]["fixture"] or {}).get("name"),
            (leak["origin"]["fixture"] or {}).get("scope", "function") != "function",
            leak["title"],
        )
        for group in report["groups"]
        for leak in group["leaks"]
    ]


def score(known: Sequence[Case], findings: Iterable[Finding], blind: frozenset[str] = frozenset()) -> Score:
    """Return how ``findings`` compare with the truth; nothing of the kinds ``blind`` counts as missed.

    Where a finding tells its kind and owner both must be right. Things that come with a planted leak may be
    reported under its owner as well; whatever else is reported is a false alarm or blames the wrong one.
    """
    result = Score(clean=sum(case.role == "clean" for case in known))
    by_test = {test: case for case in known for test in case.tests}
    by_name = {case.name: case for case in known if case.owner}
    for finding in findings:
        case = by_test[finding.test]
        if finding.wide:
            # Under workers each sets it up for whichever test comes first.
            case = by_name.get(f"{finding.test.partition('::')[0]}::{finding.owner}", case)
        said = f"{case.name}: {finding.title}" if finding.title else case.name
        if case.role != "planted":
            (result.false_alarms if case.role == "clean" else result.wrong).add(said)
        elif finding.kind is None:
            result.found.add(case.name)
        elif finding.owner != case.owner or finding.kind not in {case.kind, *case.also}:
            result.wrong.add(f"{said} ({finding.kind}, of {finding.owner})")
        elif finding.kind == case.kind:
            result.found.add(case.name)
    planted = {case.name for case in known if case.role == "planted" and case.kind not in blind}
    result.missed = planted - result.found
    return result
