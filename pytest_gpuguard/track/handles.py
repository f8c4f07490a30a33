"""Buffers, streams and events of the device libraries: suspects when they outlive their owner."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.track.arrivals import Arrivals
from pytest_gpuguard.track.living import DRIVER, Living
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.words import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pytest_gpuguard.track.living import Thing
    from pytest_gpuguard.track.numba_driver import NumbaDriver
    from pytest_gpuguard.track.numba_simulator import NumbaSimulator
    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["CODES", "HandleProbe", "HandleSuspect"]

CODES = {"pinned": "GPG201", "device": "GPG202", "stream": "GPG203", "event": "GPG204"}

_FLAVOURS = {"mapped", "managed"}
#: What numba keeps for good, by the end of the file that makes it.
KNOWN = {"numba/cuda/memory_management/nrt.py": "numba keeps the memory of its runtime statistics"}


class HandleSuspect(Suspect):
    """A buffer, stream or event whose owner has ended."""

    by_reference = True

    def __init__(self, thing: Thing, *, patient: bool = True) -> None:
        # It may still go while a thread that is alive may be about to give it back.
        self.thing, self.patient = thing, patient

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.thing.kind

    @property
    def code(self) -> str:  # type: ignore[override]
        return CODES[self.thing.kind]

    @property
    def birth(self) -> Birth:  # type: ignore[override]
        return self.thing.birth

    @property
    def what(self) -> str:
        return self.thing.form

    @property
    def title(self) -> str:
        return self.thing.form

    @property
    def nbytes(self) -> int:
        return self.thing.nbytes

    @property
    def things(self) -> list[object]:
        return self.thing.objects()

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        thing, words = self.thing, self.thing.form.split()
        return {
            "kind": "registered" if words[0] == "registered" else self.kind,
            "allocator": thing.maker,
            "device": None if self.kind == "pinned" else thing.device,
            "flavour": next((word for word in words if word in _FLAVOURS), ""),
            "seen_by": thing.source,
        }

    def reap(self, timeout: float) -> str:
        """Free it where the driver can; an object of the suite that still points to it then dangles."""
        del timeout
        if self.thing.source == DRIVER:
            # Its owner may have been reaped a moment ago: what waits in a queue must not be freed twice.
            _flush()
        if not self.thing.alive:
            return "stopped before its turn: freed with another leak"
        if self.thing.free is None:
            return "left alone: it goes with the last object that points to it"
        if not self.things:
            return _freed(self.thing)
        return "left alone: objects of the suite still point to it, and would read what was freed"


def _flush() -> None:
    from pytest_gpuguard.track.numba_driver import flush

    flush()


def _freed(thing: Thing) -> str:
    assert thing.free is not None
    try:
        thing.free()
    except Exception as error:  # noqa: BLE001 - the library's own error, said in the report
        return f"not freed: {said(error)}"
    return "stopped: freed"


class HandleProbe:
    """Sees what numba makes on its real driver or in its simulator, once the suite has imported it.

    Parameters
    ----------
    kinds
        Those of :data:`CODES` that are asked for.
    busy
        Tells whether a thread of the suite is alive that may be about to give something back.
    """

    pulses: tuple[Callable[[], object], ...] = ()
    restless = False

    def __init__(self, scene: Scene, kinds: frozenset[str], busy: Callable[[], bool]) -> None:
        self.kinds = kinds
        self.unable: str | None = None
        self.living = Living(scene)
        self._busy = busy
        self._attached: list[NumbaDriver | NumbaSimulator] = []
        self._looked_at = 0

    def install(self) -> Callable[[], None]:
        """Begin to see numba now or when it is imported; return how to undo it."""
        undo = Arrivals({"numba.cuda": self._arrived}).install()

        def uninstall() -> None:
            undo()
            for source in self._attached:
                source.detach()

        return uninstall

    def _arrived(self, module: ModuleType) -> None:
        try:
            self._attach(module)
        except Exception as fault:  # noqa: BLE001 - a numba that we do not know: the suite imports it all the same
            self.unable = f"this numba cannot be watched: {said(fault)}"

    def _attach(self, module: ModuleType) -> None:
        # The simulator puts its own modules in the place of the true ones.
        driver = sys.modules["numba.cuda.cudadrv.driver"]
        if ".simulator." in driver.__name__:
            from pytest_gpuguard.track.numba_simulator import NumbaSimulator

            simulator = NumbaSimulator(self.living)
            self._attached.append(simulator)
            simulator.attach(module)
        else:
            from pytest_gpuguard.track.numba_driver import NumbaDriver

            source = NumbaDriver(self.living)
            self._attached.append(source)
            source.attach(driver)
            self.unable = source.unable

    @property
    def watching(self) -> list[str]:
        """Who tells us what is made."""
        return [source.name for source in self._attached if self.unable is None]

    def moved(self) -> bool:
        return self.living.births != self._looked_at

    def sweep(self) -> None:
        """Do nothing: every thing was seen being made."""

    def looked(self) -> None:
        self._looked_at = self.living.births

    def suspects(self) -> list[HandleSuspect]:
        found = list(self._ended())
        if any(suspect.thing.source == DRIVER for suspect in found):
            _flush()
            found = list(self._ended())
        return found

    def _ended(self) -> Iterator[HandleSuspect]:
        patient = self._busy()
        for thing in self.living.all():
            if thing.kind in self.kinds and thing.birth.owner.ended and not thing.birth.reported:
                yield HandleSuspect(thing, patient=patient)

    def abandoned(self) -> list[HandleSuspect]:
        return [HandleSuspect(thing) for thing in self.living.all() if thing.birth.reported]

    def known(self, suspect: Suspect) -> str | None:
        for code, _ in suspect.birth.stack:
            for end, why in KNOWN.items():
                if code.co_filename.endswith(end):
                    return why
        return None

    def seen(self) -> dict[str, int]:
        return {kind: self.living.made[kind] for kind in CODES if kind in self.kinds}

    def stood(self) -> dict[str, int]:
        return {}

    def existed(self) -> dict[str, int]:
        """Return how many of each kind were there before anything was watched."""
        return dict(self.living.before)
