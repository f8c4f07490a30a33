"""The live things of the device libraries: written down when they are made, struck out when they are freed.

Sources (numba's driver, its simulator) only tell what was made and freed. Whatever happens to the Python
objects, a thing stays in the table until its *true* free: that finds buffers that a table of finalizers, a
registry or a cycle keeps alive without any thread.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard import clock
from pytest_gpuguard.track.scope import BEFORE, Birth
from pytest_gpuguard.track.stacks import capture

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from pytest_gpuguard.track.scope import Scene

__all__ = ["DRIVER", "Living", "Thing"]

#: The source that knows true frees.
DRIVER = "numba driver"


class Thing(msgspec.Struct, eq=False):
    """A buffer, stream or event that was made and not freed so far.

    Attributes
    ----------
    kind
        ``"pinned"``, ``"device"``, ``"stream"`` or ``"event"``.
    form
        What it is in words, such as ``"mapped buffer"``.
    maker
        The call that made it.
    source
        Who saw it: ``"numba driver"`` and so on.
    nbytes
        Its size; 0 for streams and events.
    device
        Ordinal of its device; None where it is not known.
    objects
        Finds the Python objects that stand for it; the table itself keeps none of them alive.
    free
        Frees it for good, once nothing else will; None where only its objects can.
    alive
        Whether nobody has freed it: its handle may be another thing's by now.
    """

    kind: str
    form: str
    maker: str
    source: str
    nbytes: int
    device: int | None
    birth: Birth
    objects: Callable[[], list[object]]
    free: Callable[[], object] | None = None
    alive: bool = True


class Living:
    """The table of live things by key; every step is one operation on a dictionary.

    Frees come from any thread and from the collector at any moment, so no lock is ever taken here.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._things: dict[Hashable, Thing] = {}
        self.made: Counter[str] = Counter()
        self.before: Counter[str] = Counter()
        #: Grows with every birth.
        self.births = 0

    def born(
        self,
        key: Hashable,
        kind: str,
        form: str,
        maker: str,
        source: str,
        objects: Callable[[], list[object]],
        *,
        nbytes: int = 0,
        device: int | None = None,
        free: Callable[[], object] | None = None,
        depth: int = 2,
    ) -> None:
        """Write down a thing that was just made; its makers begin ``depth`` frames above this one."""
        stack = capture(sys._getframe(depth))  # noqa: SLF001 - the documented cheap way
        birth = self._scene.born(form, stack)
        self._things[key] = Thing(kind, form, maker, source, nbytes, device, birth, objects, free)
        self.made[kind] += 1
        self.births += 1

    def found(
        self,
        key: Hashable,
        kind: str,
        form: str,
        source: str,
        objects: Callable[[], list[object]],
        *,
        nbytes: int = 0,
        free: Callable[[], object] | None = None,
    ) -> None:
        """Write down a thing that was there before anything was watched: it is nobody's, and never judged."""
        birth = Birth(form, BEFORE, "", "setup", None, "unknown", (), clock.monotonic())
        self._things[key] = Thing(kind, form, "", source, nbytes, None, birth, objects, free)
        self.made[kind] += 1
        self.before[kind] += 1

    def gone(self, key: Hashable) -> Thing | None:
        """Strike out a thing that is about to be freed; return it, or None when it was never seen."""
        thing = self._things.pop(key, None)
        if thing is not None:
            thing.alive = False
        return thing

    def back(self, key: Hashable, thing: Thing | None) -> None:
        """Put a thing back whose free failed."""
        if thing is not None:
            thing.alive = True
            self._things[key] = thing

    def drop(self, source: str, device: int) -> None:
        """Strike out all that ``source`` made on ``device``: its context was destroyed."""
        for key, thing in self._things.copy().items():
            if thing.source == source and thing.device == device:
                self.gone(key)

    def all(self) -> Iterable[Thing]:
        """Return what is alive now."""
        return list(self._things.copy().values())
