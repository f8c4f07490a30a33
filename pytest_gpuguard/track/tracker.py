"""All probes together: what outlived its owner, settled, judged once, recorded, and stopped where asked."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard import clock
from pytest_gpuguard.track.closing import advised_methods
from pytest_gpuguard.track.excuse import Excuses
from pytest_gpuguard.track.holding import apart, holds, suspended
from pytest_gpuguard.track.leak import record
from pytest_gpuguard.track.probe import Paced
from pytest_gpuguard.track.settle import settle, stretched
from pytest_gpuguard.track.words import said

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_gpuguard.track.probe import Probe, Suspect
    from pytest_gpuguard.track.scope import Birth, Fixture, Owner, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["FINE", "Judgement", "Tracker"]

#: Kinds that are only ever found by looking, so that one looks around the set-up of each fixture.
FINE = frozenset({"fd", "memory"})

#: What takes more than this share of the time that it may take to go is worth a note.
_LATE = 0.5
#: Seconds that whatever comes while others are waited for has to go.
_LEAST_TIME = 0.1


class Judgement(NamedTuple):
    """When and how a suspect was judged; ``now`` counts from the run's start, both times are seconds.

    ``verified`` is False when a failing test's traceback may be what keeps it alive.
    """

    id: str
    worker: str
    pid: int
    now: float
    started: float
    settled_for: float
    verified: bool


class Tracker:
    """Judges what the probes see.

    Parameters
    ----------
    probes
        What sees.
    scene
        In which things are born.
    places
        How files are shown.
    worker
        Name of this process in the run.
    started
        The run's start in monotonic seconds.
    settle_for
        Longest time in seconds that a suspect may take to go.
    reap
        Whether leaks are stopped once they are recorded.
    referrers
        Whether it is looked for who keeps a leaked object alive.
    values
        Gives what the wider fixtures in force have given, each with its owner.
    let_go
        Drops what the harness itself still holds of the test; asked once there is a suspect.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        scene: Scene,
        places: Places,
        *,
        worker: str,
        started: float,
        settle_for: float,
        reap: bool,
        referrers: bool = False,
        values: Callable[[], Iterable[tuple[Owner, object]]] = tuple,
        let_go: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._probes, self._places, self._worker, self._started = probes, places, worker, started
        self._settle_for, self._reap, self._values, self._clock = settle_for, reap, values, clock
        self._let_go, self._referrers = let_go, referrers
        self._fine = [probe for probe in probes if probe.kinds & FINE]
        self._scene = scene
        self._paced: list[Paced] = []
        # As of the last look; without the number of births each test's end asks every probe. Whatever is
        # imported may be what makes things.
        self._news: int | None = None
        self._modules = 0
        self._pulses: list[tuple[Callable[[], object], object]] = []
        self._forced = False
        self._serial = 0
        self._fault: str | None = None
        #: The last answer of :meth:`counts`, as long as nothing moves.
        self._counts: dict[str, dict[str, Any]] | None = None
        self._excuses = Excuses()
        self._left: list[tuple[Suspect, dict[str, Any]]] = []
        # What was told already and starts itself anew, as a timer does.
        self._going_on: set[tuple[Owner, str]] = set()
        self.known: Counter[str] = Counter()
        #: What people should know of this process, in order.
        self.notes: dict[str, None] = {}

    def install(self) -> Callable[[], None]:
        """Begin to see; return how to undo it."""
        undo = [probe.install() for probe in self._probes]
        self._paced = [probe for probe in self._probes if isinstance(probe, Paced)]

        def uninstall() -> None:
            for step in reversed(undo):
                step()

        return uninstall

    def force(self) -> None:
        """Look at the next judgement, although no counter may move: a wide owner has ended."""
        self._forced, self._news = True, None

    def part(self, fixture: Fixture) -> None:
        """Note what of it outlives a fixture that has ended and has nothing to do with its value."""
        if fixture.gave is None or not advised_methods(fixture.gave):
            return
        try:
            for probe in self._probes:
                _part(probe.suspects())
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not take the run with it
            self._give_up(fault)

    def ask_again(self) -> None:
        """Have the next end ask more than this, whatever moves: more can have happened than is felt here."""
        self._news = None

    def still(self) -> bool:
        """Return whether surely nothing moved since the last look, as nearly always; asked at each end."""
        if self._scene.news != self._news or len(sys.modules) != self._modules:
            return False
        try:
            for pulse, last in self._pulses:
                if pulse() != last:
                    return False
        except Exception:  # noqa: BLE001 - the look itself comes upon it, and says so
            return False
        return True

    def moved(self) -> bool:
        """Return whether there is anything to judge."""
        try:
            return self._moved()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not take the run with it
            self._give_up(fault)
            return True

    def note(self, text: str) -> None:
        """Have people know something of this process."""
        self.notes[text] = self._news = None

    def _moved(self) -> bool:
        if self._forced:
            return True
        if self._fault:
            return False
        self._feel()
        moved = any(probe.moved() for probe in self._probes)
        self._rest()
        return moved

    def _feel(self) -> None:
        """Take the births and pulses of now: before each look, so that what comes during it is news."""
        self._news, self._modules = self._scene.news, len(sys.modules)
        # Several probes may have one pulse.
        pulses = dict.fromkeys(pulse for probe in self._paced for pulse in probe.pulses)
        self._pulses = [(pulse, pulse()) for pulse in pulses]

    def _rest(self) -> None:
        """See after a look whether all probes can be left alone until a birth or a pulse."""
        restless = any(probe.restless for probe in self._paced) or len(self._paced) < len(self._probes)
        if restless or self._forced:
            self._news = None

    def sweep(self, *, fine: bool = False) -> None:
        """Let the probes attribute what is new, where anything moved; if ``fine``, those of :data:`FINE`."""
        try:
            for probe in self._fine if fine else self._probes:
                if probe.moved():
                    self._counts = self._news = None
                    probe.sweep()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not take the run with it
            self._give_up(fault)

    def judge(self, *, verified: bool) -> list[dict[str, Any]]:
        """Return the records of what outlived its owner and was not reported before."""
        try:
            leaks = self._judge(verified=verified)
            self._rest()
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not take the run with it
            self._give_up(fault)
            return []
        return leaks

    def _give_up(self, fault: Exception) -> None:
        """Watch no longer, and say so: whatever is silent from here on proves nothing."""
        self._fault, self._counts = f"it failed with {said(fault)}", None
        self.note(f"GPG901: leaks are no longer watched in {self._worker}: {said(fault)}")

    def _judge(self, *, verified: bool) -> list[dict[str, Any]]:
        if self._fault:
            return []
        moved = [probe for probe in self._probes if self._forced or probe.moved()]
        self._forced = False
        if not moved:
            return []
        self._counts = None
        for probe in moved:
            # Before the first look: what is made during it is for the next one.
            probe.looked()
        first = [suspect for probe in moved for suspect in probe.suspects()]
        if not first:
            return []
        _part(first)
        self._let_go()
        self._adopt(moved)
        self._excuses.begin(failed=not verified)
        late = f"settled late: {first[0].title} of {first[0].birth.test.rpartition('::')[2] or 'the session'}"
        before = {suspect.birth: suspect.cpu_seconds() for suspect in first}
        limit = stretched(self._settle_for)
        excuses = self._excuses
        excuses.sift(first)
        # From here on we keep none of them alive: an executor's thread has its pipes as long as it is there.
        del first
        left, waited = settle(lambda: excuses.others(self._suspects(moved)), limit, patient=_patient)
        if not left and waited > limit * _LATE:
            self.note(f"{late} took {waited:.2g} s to go")
        # What held it at first may be gone, all but the traceback.
        left = self._had_time(excuses.sift(left), before)
        leaks = [self._record(suspect, waited, verified=verified) for suspect in left]
        if self._referrers:
            self._name_holders(left, leaks)
        for suspect, leak in zip(left, leaks, strict=True):
            leak["subject"] |= _burnt(suspect, before.get(suspect.birth), waited)
        if excuses.pending:
            # Looked at again when the traceback is gone: nothing will have moved.
            self._forced = True
        self._left = list(zip(left, leaks, strict=True))
        return leaks

    def _had_time(self, left: Sequence[Suspect], first: Mapping[Birth, object]) -> list[Suspect]:
        """Return those of ``left`` that did not come just before the last look: these are for the next.

        Unless one like it was there at first, and has started it, or the one before: it goes on for ever.
        """
        chains = {_chain(birth) for birth in first}
        had = [
            one
            for one in left
            if one.birth in first or clock.monotonic() - one.birth.at > _LEAST_TIME or _goes_on(one, chains)
        ]
        self._forced |= len(had) < len(left)
        return had

    def reap(self) -> None:
        """Stop what was judged last, unless it is tolerated, and note that on its record."""
        left, self._left = self._left, []
        # All are recorded by now: one close may end several, and an ended thread forgets its keeper.
        for suspect, leak in left if self._reap else ():
            if not leak.get("known"):
                leak["reaped"] = suspect.reap(max(self._settle_for, 1.0))

    def note_excused(self) -> None:
        """Note what could not be judged, as the run is over: what the tracebacks of failed tests hold."""
        if self._excuses:
            self.note(f"not judged: {len(self._excuses)} held by the traceback of a failed test")

    def abandoned(self) -> list[Suspect]:
        """Return what was reported before and is still there."""
        return [suspect for probe in self._probes for suspect in probe.abandoned()]

    @property
    def recounts(self) -> bool:
        """Whether :meth:`counts` may be another than last time."""
        return self._counts is None

    def counts(self) -> dict[str, dict[str, Any]]:
        """Return by kind how much was seen so far, how much of it was set aside, and why none can be seen."""
        if self._counts is None:
            self._counts = self._count()
        return self._counts

    def _count(self) -> dict[str, dict[str, Any]]:
        seen, existed, stood, unable = Counter[str](), Counter[str](), Counter[str](), dict[str, str | None]()
        for probe in self._probes:
            seen.update(probe.seen())
            existed.update(probe.existed())
            stood.update(probe.stood())
            # Of a kind that several see, what one of them cannot is said.
            why = self._fault or probe.unable
            unable |= {kind: unable.get(kind) or why for kind in probe.kinds}
        known = {kind: self.known[kind] + existed[kind] for kind in seen}
        # What was known and has gone since was seen too.
        return {
            kind: {
                "seen": max(number, known[kind]),
                "known": known[kind],
                "stood": stood[kind],
                "unable": unable.get(kind),
            }
            for kind, number in seen.items()
        }

    def watching(self) -> list[str]:
        """Return who tells what is made."""
        return [name for probe in self._probes for name in probe.watching]

    def _adopt(self, probes: Iterable[Probe]) -> None:
        """Hand the suspects that the value of a wider fixture holds to that fixture: it is not over yet."""
        held = list(self._values())
        held += suspended([owner for owner, _ in held])
        for suspect in (suspect for probe in probes for suspect in probe.suspects()):
            things = suspect.things if held else []
            for owner, value in held if things else ():
                if holds(value, things):
                    _hand_over(suspect.birth, owner)
                    break

    def _suspects(self, probes: Iterable[Probe]) -> Iterable[Suspect]:
        for probe in probes:
            for suspect in probe.suspects():
                if probe.known(suspect) is not None:
                    self.known[suspect.kind] += 1
                    suspect.birth.reported = True
                elif _goes_on(suspect, self._going_on):
                    suspect.birth.reported = True
                else:
                    yield suspect

    def _record(self, suspect: Suspect, waited: float, *, verified: bool) -> dict[str, Any]:
        suspect.birth.reported = True
        self._going_on.add(_chain(suspect.birth))
        self._serial += 1
        id_ = f"{self._worker}-{self._serial}"
        now = self._clock() - self._started
        judged = Judgement(id_, self._worker, os.getpid(), now, self._started, waited, verified)
        return record(suspect, self._places, judged)

    def _name_holders(self, left: Sequence[Suspect], leaks: Sequence[dict[str, Any]]) -> None:
        from pytest_gpuguard.track.referrers import holders

        told = [(one, leak) for one, leak in zip(left, leaks, strict=True) if one.things]
        # One after the other: a list of all things would be one more holder of each.
        ways = holders((one.things for one, _ in told), self._places)
        for (_, leak), held in zip(told, ways, strict=True):
            leak["subject"]["holders"] = held


def _hand_over(birth: Birth, owner: Owner) -> None:
    """Put a thing down to ``owner`` instead of the test that made it."""
    if birth.owner.fixture is None:
        birth.test_code = birth.owner.code
    birth.owner = owner


def _part(suspects: Iterable[Suspect]) -> None:
    """Note whether the value of a suspect's fixture has nothing to do with it, while that value lives."""
    found: dict[tuple[Fixture, str], bool] = {}
    for birth, suspect in ((one.birth, one) for one in suspects):
        fixture = birth.fixture
        value = fixture.value() if fixture is not None and fixture.value is not None else None
        if fixture is None or not advised_methods(type(value)):
            continue
        if (fixture, birth.what) not in found:
            # One speaks for all that were made alike, since to look is dear.
            # What no object stands for may be anybody's.
            things = suspect.things
            found[fixture, birth.what] = bool(things) and apart(value, things)
        birth.apart = found[fixture, birth.what]


def _chain(birth: Birth) -> tuple[Owner, str]:
    return birth.owner, birth.what


def _goes_on(suspect: Suspect, chains: Collection[tuple[Owner, str]]) -> bool:
    """Return whether it is a thread that one like it has started; what those make is news each time."""
    birth = suspect.birth
    return suspect.kind == "thread" and birth.certainty == "inherited" and _chain(birth) in chains


def _burnt(suspect: Suspect, before: float | None, waited: float) -> dict[str, float]:
    """Return the share of a CPU that a suspect used while it was waited for."""
    now = suspect.cpu_seconds()
    if before is None or now is None or waited <= 0:
        return {}
    return {"cpu": round((now - before) / waited, 2)}


def _patient(suspect: Suspect) -> bool:
    return suspect.patient
