"""What can only be found by looking: a counter is asked after every test, the list only when it moved.

What is new since the last look is put down to what is in force, unless its making was seen. So a look is
also taken before and after the set-up of every wider fixture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pytest_gpuguard import clock
from pytest_gpuguard.track.scope import BEFORE, Birth

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from pytest_gpuguard.track.probe import Suspect
    from pytest_gpuguard.track.scope import Scene

__all__ = ["LookingProbe"]

Detail = TypeVar("Detail")


class LookingProbe(ABC, Generic[Detail]):
    """Keeps the birth of each thing that it finds, as long as it finds it."""

    kind: str
    watching: tuple[str, ...] = ()
    unable: str | None = None

    def __init__(self, scene: Scene) -> None:
        self.kinds = frozenset({self.kind})
        self._scene = scene
        self._births: dict[Hashable, Birth] = {}
        self._details: Mapping[Any, Detail] = {}
        self._counted: object = None
        self._news = False
        self._seen = 0

    # What differs.

    #: Returns a value that differs once something was made or went; set by :meth:`begin`. It is asked after
    #: each test, so it should be no more than one system call, with all that it needs at hand.
    count: Callable[[], object]

    @abstractmethod
    def begin(self) -> Callable[[], None]:
        """Open what is asked and wrap what is seen; return how to undo it."""

    @abstractmethod
    def look(self) -> Mapping[Any, Detail]:
        """Return what there is by a key that is never used twice."""

    @abstractmethod
    def suspect(self, key: Any, detail: Detail, birth: Birth) -> Suspect:
        """Return a thing as a suspect."""

    def what(self, detail: Detail) -> str:
        """Return in words what a thing is, without anything that changes from run to run."""
        del detail
        return self.kind

    def born(self, key: Any, detail: Detail) -> Birth:
        """Return the birth of a thing that is new."""
        del key
        return self._scene.found(self.what(detail), (), "inferred", clock.monotonic())

    def known(self, suspect: Suspect) -> str | None:
        del suspect
        return None

    # What every probe offers.

    def install(self) -> Callable[[], None]:
        """Begin to see; what is there already is nobody's."""
        if self.unable is not None:
            return lambda: None
        undo = self.begin()
        self._counted, self._details = self.count(), self.look()
        now = clock.monotonic()
        for key, detail in self._details.items():
            self._births[key] = Birth(self.what(detail), BEFORE, "", "setup", None, "unknown", (), now)
        return undo

    @property
    def pulses(self) -> tuple[Callable[[], object], ...]:
        return (self.count,) if self.unable is None else ()

    @property
    def restless(self) -> bool:
        return self._news

    def moved(self) -> bool:
        return self.unable is None and (self._news or self.count() != self._counted)

    def sweep(self) -> None:
        if self.unable is not None:
            return
        self._counted = self.count()
        self._details = details = self.look()
        for key in [key for key in self._births if key not in details]:
            del self._births[key]
        for key, detail in details.items():
            if key not in self._births:
                self._births[key] = self.born(key, detail)
                # Wherever that was seen, the end of its owner has to be told of it.
                self._news = True
                self._seen += self._births[key].owner is not BEFORE

    def looked(self) -> None:
        self._news = False

    def suspects(self) -> list[Suspect]:
        self.sweep()
        return [
            self.suspect(key, self._details[key], birth)
            for key, birth in self._births.items()
            if birth.owner.ended and not birth.reported
        ]

    def abandoned(self) -> list[Suspect]:
        # By what was seen last: this is asked from beside a test.
        details = self._details
        found = [
            self.suspect(key, details[key], birth)
            for key, birth in self._births.copy().items()
            if birth.reported and key in details
        ]
        return [suspect for suspect in found if self.known(suspect) is None]

    def seen(self) -> dict[str, int]:
        return {self.kind: self._seen}

    def existed(self) -> dict[str, int]:
        return {}

    def stood(self) -> dict[str, int]:
        return {self.kind: sum(birth.owner is BEFORE for birth in self._births.values())}
