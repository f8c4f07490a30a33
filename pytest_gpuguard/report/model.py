"""The record of a run, version 1: everything else is a view of it.

Times are seconds since the run's start, paths are relative to the root directory, amounts are bytes or plain
numbers by resource (``pinned``, ``gpu.<uuid>``). A field is never given a new meaning without a new
``schema_version``; what is added has a default, so that older records can be read.
"""

from __future__ import annotations

import msgspec

from pytest_gpuguard.report.leaks import Accepted, FixtureRef, Gone, Leak, LeakGroup, Origin, Totals
from pytest_gpuguard.report.subjects import Frame, ThreadSubject

__all__ = [
    "CI",
    "SCHEMA_VERSION",
    "Accepted",
    "Blocker",
    "Death",
    "Device",
    "Edge",
    "Fault",
    "FixtureRef",
    "Frame",
    "Gone",
    "Leak",
    "LeakGroup",
    "Levels",
    "Origin",
    "Probe",
    "ProcessState",
    "Run",
    "RunReport",
    "Setting",
    "Stack",
    "Stall",
    "TestSpan",
    "ThreadSubject",
    "Totals",
    "Verdict",
    "Wait",
    "Worker",
]

SCHEMA_VERSION = 1


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


class Stack(msgspec.Struct, frozen=True):
    """The stack of one thread, outermost frame first."""

    thread: str
    frames: list[Frame]


class ProcessState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one process of the run did when it was asked.

    ``place`` is where its main thread is, ``left`` what earlier tests left alive in it, ``leases`` what it
    holds and waits for, in words.
    """

    worker: str
    pid: int
    nodeid: str = ""
    phase: str = ""
    idle_s: float = 0.0
    place: str = ""
    left: list[str] = []
    leases: list[str] = []
    stacks: list[Stack] = []


class Edge(msgspec.Struct, frozen=True):
    """``waiter`` waits for what ``holder`` has, or for its turn behind it; both are workers or labels."""

    waiter: str
    holder: str
    resource: str
    amount: int = 0


class Stall(msgspec.Struct, frozen=True):
    """A test without progress; ``stacks`` names the file with the stacks of its process.

    ``how`` says how it was ended: interrupted, or the worker was ended.
    """

    nodeid: str
    phase: str
    worker: str
    idle_s: float
    ended: bool
    stacks: str
    at: float | None = None
    how: str = ""
    states: list[ProcessState] = []
    edges: list[Edge] = []


class Blocker(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who stood in the way of a claim: ``role`` is holder or ahead, ``who`` its label, ``for_s`` how long."""

    who: str
    role: str = "holder"
    worker: str = ""
    pid: int = 0
    holds: dict[str, int] = {}
    wants: dict[str, int] = {}
    for_s: float | None = None
    state: str = ""


class Wait(msgspec.Struct, frozen=True, rename={"began": "from", "ended": "to"}):
    """A wait for a lease: who needed what, from when to when (in the record ``from`` and ``to``).

    ``end`` is granted, timeout, deadlock or interrupted; ``blocked_by`` are the labels of those who held it
    or came before; ``blockers`` and ``edges`` say more where the wait ended badly.
    """

    nodeid: str
    worker: str
    amounts: dict[str, int]
    began: float
    ended: float
    end: str
    blocked_by: list[str]
    blockers: list[Blocker] = []
    edges: list[Edge] = []


class Levels(msgspec.Struct, frozen=True):
    """How much of a resource a worker held: ``amount[i]`` from ``at[i]`` on."""

    worker: str
    resource: str
    at: list[float]
    amount: list[int]


class Fault(msgspec.Struct, frozen=True):
    """The first fault of a process: ``kind`` is crash, sticky (the CUDA context is unusable) or oom.

    ``followers`` are the later failures of that process which follow from it, ``state`` the file with what
    the machine looked like, ``what`` what was done about it.
    """

    kind: str
    code: str
    worker: str
    nodeid: str
    error: str
    at: float
    followers: list[str] = []
    what: str = ""
    state: str = ""


class TestSpan(msgspec.Struct, omit_defaults=True, gc=False):
    """One test; ``start`` and ``stop`` cover all phases, ``waited_s`` the wait for its lease before.

    ``reserved`` is what it had claimed, ``peak`` the most that it used of that.
    """

    # There is one for each test, and none is part of a cycle: the collector need not look at them.
    __test__ = False

    nodeid: str
    worker: str
    start: float
    stop: float
    outcome: str
    leak_ids: tuple[str, ...] = ()
    waited_s: float = 0.0
    reserved: dict[str, int] | None = None
    peak: dict[str, int] | None = None


class Device(msgspec.Struct, frozen=True):
    """A device that the run could use; ``mode`` is gpu, sim or fake."""

    uuid: str
    name: str
    index: int
    mode: str
    total_bytes: int | None = None
    driver: str = ""
    capability: str = ""
    workers: list[str] = []


class Worker(msgspec.Struct):
    """One process that ran tests; ``pid`` is 0 when it ended before it said anything.

    ``end`` is ok, crashed, killed (by us) or open (nothing is known of its end), ``unable`` says why no wait
    could be broken in it, ``error`` how it ended, ``stacks`` names the file with its stacks, ``watching`` who
    told in it what was made, ``mode`` what its tests have used: gpu, fake, sim or none.
    """

    id: str
    pid: int
    end: str = "ok"
    unable: str | None = None
    started: float | None = None
    finished: float | None = None
    error: str = ""
    stacks: str = ""
    watching: list[str] = []
    mode: str = ""


class Setting(msgspec.Struct, frozen=True):
    """A setting in force and where it came from."""

    value: str
    source: str


class Probe(msgspec.Struct, frozen=True):
    """What was watched and how much of it was seen: no leak must never mean that nothing was watching.

    ``unable`` says why a kind was not watched. What ``stood`` there before the tests is nobody's, and not
    among those seen.
    """

    kind: str
    seen: int
    known: int
    unable: str | None = None
    stood: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """The figures of the first line; ``leaks`` counts all groups, known ones too."""

    leaks: int
    tests_leaked: int
    deaths: int
    waits_broken: int
    stalls: int
    tests_ended: int
    leaks_known: int = 0
    leaks_worse: int = 0
    faults: int = 0
    waits: int = 0
    waited_s: float = 0.0
    timeouts: int = 0
    deadlocks: int = 0


class CI(msgspec.Struct, frozen=True):
    """Where the run took place, as far as the CI's environment says."""

    provider: str
    url: str = ""
    sha: str = ""
    ref: str = ""


class Run(msgspec.Struct, frozen=True):
    """The run itself; ``started`` is UTC in ISO 8601, ``duration_s`` in seconds.

    ``end`` is finished, interrupted, cut off (the process that sums up was killed) or running, and then
    ``exit_status`` means nothing; ``versions`` are those of packages that matter.
    """

    id: str
    started: str
    duration_s: float
    argv: list[str]
    python: str
    platform: str
    exit_status: int
    end: str = "finished"
    versions: dict[str, str] = {}
    ci: CI | None = None


class RunReport(msgspec.Struct, frozen=True):
    """Everything that is known of a run; ``notes`` is what people should know of it.

    ``limits`` is the budget in force, ``unfinished`` the tests that had begun when the run was cut off,
    ``failed_by`` why the run fails whatever its tests did.
    """

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
    devices: list[Device] = []
    limits: dict[str, int] = {}
    levels: list[Levels] = []
    faults: list[Fault] = []
    gone: list[Gone] = []
    unfinished: list[TestSpan] = []
    failed_by: list[str] = []
