"""Leaks in the record: where each was made, and what is one defect."""

from __future__ import annotations

import msgspec

from pytest_gpuguard.report.subjects import Frame, Subject

__all__ = ["Accepted", "FixtureRef", "Gone", "Leak", "LeakGroup", "Origin", "Totals"]


class FixtureRef(msgspec.Struct, frozen=True):
    """The fixture in force; ``made`` and ``closing`` name the class of its value and how that is closed.

    ``then`` is what is to be called after ``closing``. Where its own code does all that already, ``closed``
    is what it calls (``__exit__``: a ``with`` does); ``entered`` says that it calls ``__enter__`` by itself.
    ``edit`` are lines to take out (``- ...``) and to put in (``+ ...``), in words of the fixture itself.
    ``ending`` says that its teardown made the thing, ``failed`` that its set-up raised.
    """

    name: str
    scope: str
    node: str
    file: str
    line: int
    yields: bool
    made: str | None
    closing: str | None
    edit: list[str] = []
    ending: bool = False
    then: str | None = None
    closed: str | None = None
    entered: bool = False
    failed: bool = False


class Origin(msgspec.Struct, frozen=True):
    """Where a thing was made; ``certainty`` is exact, inherited, inferred or unknown."""

    nodeid: str
    phase: str
    fixture: FixtureRef | None
    certainty: str


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a leak is tolerated, ``by`` baseline, marker or hook; ``until`` a date from which on it is not."""

    reason: str
    by: str = "baseline"
    issue: str | None = None
    until: str | None = None


class Leak(msgspec.Struct, frozen=True):
    """One thing that outlived its scope; ``keeper`` is the class that could close it, by ``closing``.

    ``verified`` is False when a failed test's traceback may be what keeps it alive, ``reaped`` says what was
    done to stop it. ``attribute`` is where the instance of its test class has it.
    """

    id: str
    kind: str
    code: str
    title: str
    what: str
    nbytes: int
    worker: str
    pid: int
    origin: Origin
    judged_at: str
    judged_node: str
    created_at: float
    found_at: float
    settled_for_s: float
    verified: bool
    keeper: str | None
    closing: str | None
    created: list[Frame]
    subject: Subject
    reaped: str | None = None
    known: Accepted | None = None
    attribute: str | None = None


class Totals(msgspec.Struct, frozen=True):
    """How much one defect left behind."""

    occurrences: int
    tests: int
    nbytes: int
    reaped: int


class LeakGroup(msgspec.Struct, frozen=True):
    """All leaks of one defect, by fingerprint.

    ``status`` is new, known (tolerated, as ``known`` says) or worse (there are more of them than the
    ``tolerated`` ones).
    """

    fingerprint: str
    kind: str
    code: str
    status: str
    title: str
    suspect: Frame | None
    totals: Totals
    leaks: list[Leak]
    known: Accepted | None = None
    tolerated: int | None = None

    @property
    def counted(self) -> list[Leak]:
        """Those that the status speaks of: in a new group not those that a mark of their test tolerates."""
        return [leak for leak in self.leaks if leak.known is None] if self.status == "new" else self.leaks


class Gone(msgspec.Struct, frozen=True):
    """A leak of the baseline that this run did not have, although it ran the tests that left it."""

    fingerprint: str
    title: str
    reason: str
