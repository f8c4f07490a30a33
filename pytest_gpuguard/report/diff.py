"""What is different between the leaks of two runs, by fingerprint: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.report.lines import Piece, head
from pytest_gpuguard.report.looked import would_show

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pytest_gpuguard.report.leaks import LeakGroup
    from pytest_gpuguard.report.lines import Line
    from pytest_gpuguard.report.model import RunReport

    _Shows = Callable[[str, Collection[str]], bool]

__all__ = ["Change", "Difference", "difference", "difference_lines"]

#: In the order in which they are shown.
ORDER = ("new", "worse", "better", "gone", "not run", "same")
_STYLES = {"new": "bad", "worse": "bad", "better": "good", "gone": "good"}
_WORDS = {"new": "NEW", "worse": "WORSE", "better": "BETTER", "gone": "GONE", "not run": "?", "same": "SAME"}


class Change(msgspec.Struct, frozen=True):
    """One leak: ``status`` is new, worse, better, gone, not run or same.

    ``before`` and ``after`` are how often it occurred; not run is said where none of its tests passed, or its
    kind was not watched.
    """

    status: str
    fingerprint: str
    code: str
    title: str
    suspect: str
    before: int
    after: int
    known: bool = False


class Difference(msgspec.Struct, frozen=True):
    """All of them, as ``gpuguard diff --json`` writes them."""

    old: str
    new: str
    changes: list[Change]
    schema_version: int = 1

    @property
    def bad(self) -> bool:
        """Whether something is new or worse that nobody tolerates."""
        return any(change.status in {"new", "worse"} and not change.known for change in self.changes)


def difference(old: RunReport, new: RunReport) -> Difference:
    """Return what has changed from one run to the other."""
    before = {group.fingerprint: group for group in old.groups}
    after = {group.fingerprint: group for group in new.groups}
    shows = would_show(new)
    changes = [
        _change(before.get(fingerprint), after.get(fingerprint), shows)
        for fingerprint in before.keys() | after.keys()
    ]
    changes.sort(key=lambda change: (ORDER.index(change.status), change.fingerprint))
    return Difference(old.run.id, new.run.id, changes)


def _change(before: LeakGroup | None, after: LeakGroup | None, shows: _Shows) -> Change:
    group = after or before
    assert group is not None
    suspect = group.suspect
    return Change(
        _status(before, after, shows),
        group.fingerprint,
        group.code,
        group.title,
        f"{suspect.file}:{suspect.line} {suspect.function}" if suspect else "",
        before.totals.occurrences if before else 0,
        after.totals.occurrences if after else 0,
        known=after is not None and after.status == "known",
    )


def _status(before: LeakGroup | None, after: LeakGroup | None, shows: _Shows) -> str:
    if before is None:
        return "new"
    if after is None:
        left = {leak.origin.nodeid for leak in before.leaks}
        return "gone" if shows(before.kind, left) else "not run"
    was, now = before.totals.occurrences, after.totals.occurrences
    return "same" if was == now else "worse" if now > was else "better"


def difference_lines(changes: Sequence[Change], *, everything: bool) -> Iterator[Line]:
    """Yield a line for each leak that changed, or for all, and their numbers; none where none changed."""
    shown = [change for change in changes if everything or change.status != "same"]
    for change in shown:
        times = "" if change.before == change.after else f", {change.before} -> {change.after} times"
        known = ", known" if change.known else ""
        id_ = change.fingerprint.partition(":")[2][:8]
        line = head(_WORDS[change.status], change.title, f"{times}{known}", f"{change.code}  {id_}")
        yield [Piece(line[0].text, _STYLES.get(change.status, "")), *line[1:]]
        if change.suspect:
            yield [Piece(f"       {change.suspect}"[:80], "dim")]
    numbers = [(sum(change.status == status for change in shown), status) for status in ORDER]
    if shown:
        yield [Piece(", ".join(f"{number} {status}" for number, status in numbers if number), "strong")]
        if any(change.status == "not run" for change in shown):
            yield [Piece("?: none of the tests that left it passed, or its kind was not watched", "dim")]
