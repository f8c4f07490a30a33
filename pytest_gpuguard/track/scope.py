"""Whose is it: the test, phase and fixture in force while something is made, and the scope it belongs to.

A thing is attributed when it is *born*, never by comparing before and after, and judged when its owner
ends. So a thread of a session fixture is not blamed on the first test that uses the fixture.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pytest_gpuguard import clock
from pytest_gpuguard.track.closing import closing_method
from pytest_gpuguard.track.holding import Names
from pytest_gpuguard.track.stacks import RawStack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["BEFORE", "Birth", "Certainty", "Fixture", "Owner", "Phase", "Scene"]

Phase = Literal["setup", "call", "teardown"]
#: ``inherited`` from the thread that made it; ``inferred`` from what was in force when it was first seen.
Certainty = Literal["exact", "inherited", "inferred", "unknown"]


class Fixture(msgspec.Struct, eq=False):
    """A fixture while it is set up, and what is known of what it made.

    The class of its value is kept, not the value itself, which must be free to go. It ``failed`` when
    its set-up raised.
    """

    name: str
    scope: str
    node: str
    code: CodeType | None
    gave: type | None = None
    #: Gives the value while somebody else has it; known of a wide one, and where it made something meanwhile.
    value: weakref.ref[Any] | None = None
    # Of the scene, as it began.
    news: int = 0
    failed: bool = False

    @property
    def made(self) -> type | None:
        """The class of its value, if that can be closed."""
        return self.gave if self.gave is not None and closing_method(self.gave) is not None else None


class Owner(msgspec.Struct, eq=False):
    """The scope at whose end a thing is judged: one run of a test, or one set-up of a wider fixture.

    The frame of the test function or fixture is known by ``code``, so that a trace can be cut there. Scope
    ``block`` is that of the fixture ``leak_scope``. One that ``failed`` is a fixture whose set-up raised.
    A wide fixture has ``names``.
    """

    scope: str
    node: str
    fixture: Fixture | None = None
    code: CodeType | None = None
    ended: bool = False
    failed: bool = False
    names: Names | None = None

    def left(self) -> list[object]:
        """Return what a wide fixture has given, while that lives, and left under names."""
        given = self.fixture.value() if self.fixture is not None and self.fixture.value is not None else None
        return [given, *(self.names.values() if self.names is not None else ())]


class Birth(msgspec.Struct, eq=False):
    """Where a thing comes from; kept as long as the thing, so it holds no frame and no object of the suite.

    ``what`` says what it does, as ``module:qualname``: a thread forgets its target when it ends.
    """

    what: str
    owner: Owner
    test: str
    phase: Phase
    fixture: Fixture | None
    certainty: Certainty
    stack: RawStack
    at: float
    reported: bool = False
    #: Whether the value of its fixture has nothing to do with it.
    apart: bool = False
    #: That of the test in which it was made, where a wider fixture has it since.
    test_code: CodeType | None = None


#: Bound here: a test puts something else in their place, and starts threads meanwhile.
_get_ident, _main_thread = threading.get_ident, threading.main_thread

#: Owner of what is made before the first test or between tests; it never ends, so it is never judged.
BEFORE = Owner("session", "")


def _weakly(value: object) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(value)
    except TypeError:  # as of a list
        return None


@dataclass(slots=True)
class Scene:
    """What is in force in the main thread right now.

    Attributes
    ----------
    owner
        The running test; ``None`` outside of tests (collection, session start, session end).
    fixtures
        Fixtures being set up, outermost first.
    standing
        Wide fixtures that were set up and, but for the ended ones among them, wait for their teardown.
    closure
        Finds the names of all fixtures of the running test.
    code
        Finds that of its function; asked where something is made that belongs to it.
    torn_down
        Finds the fixture that the calling thread tears down.
    last
        Whether no test follows in this process.
    failed
        Whether a phase of the running test failed: its traceback then keeps objects alive.
    rerun
        Whether this run of the test is to be followed by another one.
    progress
        Monotonic seconds of the last start or end of a phase or fixture; ``None`` while nothing is timed:
        between tests, and once somebody debugs the test.
    own
        Fixtures of the running test alone that were set up.
    makers
        Each finds the birth of the calling thread, if it knows it.
    news
        Another number with every birth, and with whatever else is to be told of the running test: as long as
        it stays, nobody has to ask.
    """

    owner: Owner | None = None
    phase: Phase = "setup"
    fixtures: list[Fixture] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    standing: list[Owner] = field(default_factory=list)
    closure: Callable[[], Collection[str]] = tuple
    failed: bool = False
    rerun: bool = False
    progress: float | None = None
    own: list[Fixture] = field(default_factory=list)
    makers: list[Callable[[], Birth | None]] = field(default_factory=list)
    code: Callable[[], CodeType | None] = lambda: None
    torn_down: Callable[[], Fixture | None] = lambda: None
    last: bool = False
    news: int = 0
    # Whether a fixture was set up for the running test.
    _used: bool = False
    # Counts for several threads at once.
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, owner: Owner, now: float) -> None:
        """A test begins (or begins again, when it is rerun)."""
        self.owner, self.phase, self.progress = owner, "setup", now
        self.failed = self.rerun = False
        if self._used:
            self._used = False
            self.fixtures.clear()
            self.owners.clear()
            self.own.clear()
            self.standing = [standing for standing in self.standing if not standing.ended]

    def stir(self) -> None:
        """There is something to be told, or to be looked at, when the running test ends."""
        self.news = next(self._numbers)

    def end(self) -> None:
        """No test is running any more."""
        self.owner = self.progress = None

    def enter(self, fixture: Fixture, owner: Owner | None, now: float) -> None:
        """A fixture's set-up begins; ``owner`` is given for every scope wider than a function."""
        self._used, fixture.news = True, self.news
        self.fixtures.append(fixture)
        if owner is not None:
            self.owners.append(owner)
            self.standing.append(owner)
        else:
            self.own.append(fixture)
        self.touch(now)

    def leave(self, fixture: Fixture, owner: Owner | None, value: object, now: float) -> None:
        """The fixture's set-up is over and gave ``value``."""
        # An interrupt may have cut inner set-ups short of their own leave: drop them with this one.
        while self.fixtures and self.fixtures.pop() is not fixture:
            pass
        while owner is not None and self.owners and self.owners.pop() is not owner:
            pass
        fixture.gave = None if value is None else type(value)
        if owner is not None or fixture.news != self.news:
            fixture.value = _weakly(value)
        self.touch(now)

    def touch(self, now: float) -> None:
        """Note progress, if a test is running."""
        if self.progress is not None:
            self.progress = now

    def _ending(self) -> Fixture | None:
        """Return the fixture whose teardown makes something: also in a set-up, that of another parameter."""
        return self.torn_down() if self.phase != "call" and (self.standing or self.own) else None

    def _owner_in_force(self, ending: Fixture | None) -> Owner:
        if ending is not None:
            wide = (owner for owner in self.standing if owner.fixture is ending)
            return next(wide, self.owner or BEFORE)
        return self.owners[-1] if self.owners else self.owner or BEFORE

    def born(self, what: str, stack: RawStack) -> Birth:
        """Return the record of a thing made now, by the calling thread.

        Parameters
        ----------
        what
            What the thing does, as ``module:qualname``.
        stack
            The makers, innermost first.
        """
        now, in_main = clock.monotonic(), _get_ident() == _main_thread().ident
        maker = None if in_main else next(filter(None, (find() for find in self.makers)), None)
        if maker is not None:
            self.stir()
            return Birth(what, maker.owner, maker.test, maker.phase, maker.fixture, "inherited", stack, now)
        return self.found(what, stack, "exact" if in_main else "inferred", now)

    def found(self, what: str, stack: RawStack, certainty: Certainty, now: float) -> Birth:
        """Return the record of a thing that is put down to what is in force."""
        self.stir()
        ending = self._ending()
        owner = self._owner_in_force(ending)
        if owner is self.owner and owner.code is None:
            owner.code = self.code()
        fixture = ending or (self.fixtures[-1] if self.fixtures else owner.fixture)
        phase: Phase = "teardown" if ending else self.phase
        test = self.owner.node if self.owner else ""
        return Birth(what, owner, test, phase, fixture, certainty, stack, now)

    def concerns(self, birth: Birth) -> bool:
        """Return whether the running test depends on it: it is its own, or of a fixture that it uses."""
        if self.owner is None or birth.owner.ended:
            return False
        fixture = birth.owner.fixture
        return birth.owner is self.owner or (fixture is not None and fixture.name in self.closure())
