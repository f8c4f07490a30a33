"""What every probe offers: a cheap question, a costly look, and suspects that can speak for themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_gpuguard.track.scope import Birth
    from pytest_gpuguard.track.stacks import Places

__all__ = ["Closer", "Paced", "Probe", "Suspect"]


class Closer(NamedTuple):
    """Who could close a thing: the class of its keeper, and the name of the method, where one is known."""

    keeper: str | None = None
    method: str | None = None


class Suspect(ABC):
    """A thing that is still there although its owner has ended."""

    #: As in the switch ``leak-kinds``.
    kind: str
    #: ``GPGnnn``.
    code: str
    birth: Birth
    #: Whether it may still go by itself; what never does is not waited for.
    patient: bool = True
    #: Whether it goes with the last reference to it.
    by_reference: bool = False

    @property
    @abstractmethod
    def title(self) -> str:
        """One line without anything that changes from run to run."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What tells two things made at one place apart; part of the fingerprint."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds, 0 where that is not known."""
        return 0

    @property
    def closer(self) -> Closer:
        """Who could close it."""
        return Closer()

    @property
    def things(self) -> list[object]:
        """The objects that stand for it: who holds one of them, holds it."""
        return []

    def cpu_seconds(self) -> float | None:
        """Return the CPU time that it has used, None where it uses none or that is not known."""
        return None

    @abstractmethod
    def subject(self, places: Places) -> dict[str, Any]:
        """Return what is peculiar to its kind, as plain values."""

    def reap(self, timeout: float) -> str:
        """Stop or free it within ``timeout`` seconds, and say what was done."""
        del timeout
        return "left alone: nothing that closes it could be found"


class Probe(Protocol):
    """Sees the things of one or more kinds."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it sees."""

    @property
    def unable(self) -> str | None:
        """Why it sees nothing here, or None."""

    def install(self) -> Callable[[], None]:
        """Begin to see; return how to undo it."""

    def moved(self) -> bool:
        """Return whether anything can have changed since :meth:`looked`; asked after every test, so cheap."""

    def sweep(self) -> None:
        """Attribute what is new and was not seen being made to the owner in force.

        Asked when a test ends and before and after the set-up of every wider fixture.
        """

    def suspects(self) -> Iterable[Suspect]:
        """Return what is still there although its owner has ended and was not reported before."""

    def looked(self) -> None:
        """Note that the suspects of now have been looked at."""

    def abandoned(self) -> Iterable[Suspect]:
        """Return what was reported before and is still there."""

    def known(self, suspect: Suspect) -> str | None:
        """Return why a library keeps it for good, or None when nobody is known to.

        An empty reason: it is the interpreter's own, and not counted.
        """

    def seen(self) -> Mapping[str, int]:
        """Return how many things of each kind were seen so far."""

    def existed(self) -> Mapping[str, int]:
        """Return how many of these were there before anything was watched; they are nobody's leak."""

    def stood(self) -> Mapping[str, int]:
        """Return how many of each kind stood there before the tests, beside those that were seen."""

    @property
    def watching(self) -> Sequence[str]:
        """Who really tells what is made, in words; empty while nobody does."""


@runtime_checkable
class Paced(Protocol):
    """A probe that need not be asked after each test: its things are born in the scene, or a pulse tells."""

    @property
    def pulses(self) -> Sequence[Callable[[], object]]:
        """Each answers differently once something may have been made or have gone: a system call at most."""

    @property
    def restless(self) -> bool:
        """Whether it has to be asked after the next test, whatever its pulses tell."""
