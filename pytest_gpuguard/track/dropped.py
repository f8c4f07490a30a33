"""Files and sockets that were dropped instead of closed: nothing of them is left when their test ends.

Python closes them itself and tells of it by a ``ResourceWarning``, just before: so it can still be seen which
one it is, and whose.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuguard import clock
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places
    from pytest_gpuguard.track.targets import Targets

__all__ = ["DroppedSuspect", "Drops"]

#: The name is as ``repr`` has it.
_NAME = r"""(?P<name>b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|\d+)"""
_UNCLOSED = re.compile(rf"unclosed (?:file <.*? name={_NAME}|<socket\.socket fd=(?P<fd>\d+))")


@dataclass(frozen=True, eq=False)
class DroppedSuspect(Suspect):
    """A file or socket that nobody closed."""

    fd: int
    target: str
    birth: Birth
    targets: Targets
    kind = "fd"
    code = "GPG105"
    patient = False

    @property
    def flavour(self) -> str:
        """File or socket."""
        return "file" if self.target.startswith("/") else "socket"

    @property
    def what(self) -> str:
        # A socket is gone by now, and its number another's.
        told = self.targets.in_words(self.target, self.fd) if self.flavour == "file" else self.flavour
        return f"dropped {told}"

    @property
    def title(self) -> str:
        return self.what

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        target = self.targets.shown(self.target) if self.flavour == "file" else self.target
        return {"fd": self.fd, "flavour": self.flavour, "target": sound(target)}

    def reap(self, timeout: float) -> str:
        del timeout
        return "closed by Python already"


def _which(message: str, present: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return number and target of all that ``message`` may tell of; -1 where the number cannot be had."""
    match = _UNCLOSED.match(message)
    if match is None:
        return []
    if match["fd"]:
        return [(int(match["fd"]), dict(present).get(int(match["fd"]), "socket"))]
    name = ast.literal_eval(match["name"])
    if isinstance(name, int):
        return [(name, dict(present).get(name, f"/fd/{name}"))]
    path = os.path.realpath(os.fsdecode(name))
    return [entry for entry in present if entry[1] == path] or [(-1, path)]


def _placed(birth: Birth) -> Birth:
    """Have the birth name the function that had it, where that is over: what it had goes with its frame."""
    code = birth.fixture.code if birth.fixture is not None else birth.owner.code
    # In a thread it is one of the thread's own functions that went.
    is_here = birth.certainty == "exact" or not birth.stack
    if code is not None and is_here and code not in dict(birth.stack):
        birth.stack = ((code, 0),)
    return birth


class Drops:
    """Remembers what was dropped until its owner has ended.

    Parameters
    ----------
    scene
        What is in force.
    targets
        Names what is open.
    """

    def __init__(self, scene: Scene, targets: Targets) -> None:
        self._scene, self._targets = scene, targets
        self._dropped: list[DroppedSuspect] = []
        self.seen = 0

    def warned(
        self,
        message: str,
        frame: FrameType | None,
        present: Iterable[tuple[int, str]],
        births: Mapping[Any, Birth],
    ) -> bool:
        """Hear a warning given in ``frame``; ``present`` is what is open, ``births`` are those known."""
        found = _which(message, present)
        if not found or self._scene.owner is None:
            return False
        # Several may have one file open: rather the one that is new.
        key = next((key for key in found if key not in births), found[-1])
        birth = births.get(key)
        if birth is None:
            birth = self._born(frame)
        elif birth.reported or (birth.owner.ended and birth.owner is not self._scene.owner):
            # Told already, or only the traceback of a failed test kept it until now.
            return False
        self._dropped.append(DroppedSuspect(*key, birth, self._targets))
        self.seen += 1
        return True

    def _born(self, frame: FrameType | None) -> Birth:
        if self._scene.owner is not None and self._scene.owner.ended:
            # By the collection that we ask for at the end of a test: the stack is our own.
            birth = self._scene.found("", (), "inferred", clock.monotonic())
        else:
            birth = self._scene.born("", capture(frame))
        return _placed(birth)

    def suspects(self) -> list[Suspect]:
        """Return what was dropped by an owner that has ended."""
        self._dropped = [drop for drop in self._dropped if not drop.birth.reported]
        return [drop for drop in self._dropped if drop.birth.owner.ended]
