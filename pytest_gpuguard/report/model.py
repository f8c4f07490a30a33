"""The record of a run, version 1: everything else is a view of it.

Times are seconds since the run's start, paths are relative to the root directory. A field is never given
a new meaning without a new ``schema_version``.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "SCHEMA_VERSION",
    "Death",
    "FixtureRef",
    "Frame",
    "Leak",
    "LeakGroup",
    "Origin",
    "Probe",
    "Run",
    "RunReport",
    "Setting",
    "Stall",
    "TestSpan",
    "ThreadSubject",
    "Totals",
    "Verdict",
    "Wait",
    "Worker",
]

SCHEMA_VERSION = 1


class Frame(msgspec.Struct, frozen=True):
    """One line of a stack; ``role`` is test, fixture, app, library or harness."""

    file: str
    line: int
    function: str
    role: str


class FixtureRef(msgspec.Struct, frozen=True):
    """The fixture in force; ``made`` and ``closing`` name the class of its value and how that is closed."""

    name: str
    scope: str
    node: str
    file: str
    line: int
    yields: bool
    made: str | None
    closing: str | None


class Origin(msgspec.Struct, frozen=True):
    """Where a thing was made; ``certainty`` is exact, inherited or inferred."""

    nodeid: str
    phase: str
    fixture: FixtureRef | None
    certainty: str


class ThreadSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="thread"):
    """A thread; ``now`` is its stack when it was judged."""

    name: str
    daemon: bool
    target: str
    now: list[Frame]


class Leak(msgspec.Struct, frozen=True):
    """One thing that outlived its scope; ``keeper`` is the class that could close it, by ``closing``."""

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
    subject: ThreadSubject
    reaped: str | None = None


class Totals(msgspec.Struct, frozen=True):
    """How much one defect left behind."""

    occurrences: int
    tests: int
    nbytes: int
    reaped: int


class LeakGroup(msgspec.Struct, frozen=True):
    """All leaks of one defect, by fingerprint."""

    fingerprint: str
    kind: str
    code: str
    status: str
    title: str
    suspect: Frame | None
    totals: Totals
    leaks: list[Leak]


class Death(msgspec.Struct, frozen=True):
    """A background thread that ended with an exception while a test ran."""

    thread: str
    target: str
    error: str
    nodeid: str
    worker: str
    at: float
    interrupted: bool
    origin: Origin | None = None


class Stall(msgspec.Struct, frozen=True):
    """A test without progress; ``stacks`` names the file with the stacks of its process."""

    nodeid: str
    phase: str
    worker: str
    idle_s: float
    ended: bool
    stacks: str


class Wait(msgspec.Struct, frozen=True, rename={"began": "from", "ended": "to"}):
    """A wait for a lease: who needed what, from when to when (in the record ``from`` and ``to``).

    ``end`` is granted, timeout, deadlock or interrupted; ``blocked_by`` are those who held it or came before.
    """

    nodeid: str
    worker: str
    amounts: dict[str, int]
    began: float
    ended: float
    end: str
    blocked_by: list[str]


class TestSpan(msgspec.Struct):
    """One test; ``start`` and ``stop`` cover all phases."""

    __test__ = False

    nodeid: str
    worker: str
    start: float
    stop: float
    outcome: str
    leak_ids: list[str] = []


class Worker(msgspec.Struct):
    """One process that ran tests; ``end`` is ok or crashed, ``pid`` 0 when it ended before it said anything.

    ``unable`` says why no wait could be broken in it, if none could.
    """

    id: str
    pid: int
    end: str = "ok"
    unable: str | None = None


class Setting(msgspec.Struct, frozen=True):
    """A setting in force and where it came from."""

    value: str
    source: str


class Probe(msgspec.Struct, frozen=True):
    """What was watched and how much of it was seen: no leak must never mean that nothing was watching."""

    kind: str
    seen: int
    known: int


class Verdict(msgspec.Struct, frozen=True):
    """The figures of the first line."""

    leaks: int
    tests_leaked: int
    deaths: int
    waits_broken: int
    stalls: int
    tests_ended: int


class Run(msgspec.Struct, frozen=True):
    """The run itself; ``started`` is UTC in ISO 8601, ``duration_s`` in seconds."""

    id: str
    started: str
    duration_s: float
    argv: list[str]
    python: str
    platform: str
    exit_status: int


class RunReport(msgspec.Struct, frozen=True):
    """Everything that is known of a run; ``notes`` is what people should know of the budget."""

    schema_version: int
    tool: str
    version: str
    run: Run
    settings: dict[str, Setting]
    workers: list[Worker]
    probes: list[Probe]
    verdict: Verdict
    groups: list[LeakGroup]
    deaths: list[Death]
    stalls: list[Stall]
    tests: list[TestSpan]
    waits: list[Wait] = []
    notes: list[str] = []
