"""Open files, sockets and pipes; only on request, since libraries open them at will."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.dropped import Drops
from pytest_gpuguard.track.libraries import kept_fd, kept_for_good
from pytest_gpuguard.track.looking import LookingProbe
from pytest_gpuguard.track.objects import instances
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.segments import segments_of
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places
    from pytest_gpuguard.track.targets import Targets

__all__ = ["DescriptorProbe", "DescriptorSuspect"]

#: What the process's own machinery opens, by where it leads to.
_OURS = re.compile(r"^/proc/(self|\d+)/|^/dev/(null|urandom|pts/|tty)|/d/gpuguard/|/gpuguard-[^/]*/")
_STANDARD = 2
#: For so many questions after a change all that is open is listed, not only counted.
_LISTED_FOR = 20


class _Descriptor(NamedTuple):
    """An open file as the system has it."""

    fd: int
    target: str

    @property
    def flavour(self) -> str:
        """file, socket, pipe or other."""
        if self.target.startswith("/"):
            return "file"
        name = self.target.partition(":")[0]
        return name if name in {"socket", "pipe"} else "other"


@dataclass(frozen=True, eq=False)
class DescriptorSuspect(Suspect):
    """An open file whose owner has ended."""

    descriptor: _Descriptor
    birth: Birth
    targets: Targets
    kind = "fd"
    code = "GPG105"
    patient = False
    by_reference = True

    @functools.cached_property
    def what(self) -> str:
        return f"open {self.targets.in_words(self.descriptor.target, self.descriptor.fd)}"

    @property
    def title(self) -> str:
        return self.what

    @property
    def things(self) -> list[object]:
        fd, name = self.descriptor.fd, self.descriptor.target.removesuffix(" (deleted)").rpartition("/")[2]
        files = instances(
            "_io:FileIO", "socket:socket", "select:epoll", "multiprocessing.connection:_ConnectionBase"
        )
        children = instances("multiprocessing.process:BaseProcess")
        return [
            *(file for file in files if _number(file) == fd),
            *(child for child in children if fd in _pipes_of(child)),
            # It has a number of its own, and its mapping another one.
            *segments_of(name),
        ]

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        found = self.descriptor
        target = self.targets.shown(found.target) if found.flavour == "file" else found.target
        return {"fd": found.fd, "flavour": found.flavour, "target": sound(target)}


def _open() -> Iterator[tuple[int, str]]:
    """Yield what is open and not our own, with where it leads to."""
    for fd in procfs.descriptors():
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - as quick as it can be
        except OSError:
            continue  # the one of the listing itself
        if fd > _STANDARD and not _OURS.search(target):
            yield fd, target


def _steady(target: str) -> bool:
    return not target.startswith("/") or target.endswith("(deleted)")


def _pipes_of(child: object) -> tuple[object, ...]:
    """Return the numbers by which a child's end is told, and its parent's: nothing else is kept of them."""
    started = vars(child).get("_popen")
    return getattr(started, "sentinel", None), *(
        getattr(getattr(started, "finalizer", None), "_args", None) or ()
    )


def _number(file: Any) -> int | None:
    try:
        return int(file.fileno())
    except (ValueError, OSError, AttributeError, TypeError):
        return None  # closed, or it has none


class DescriptorProbe(LookingProbe[_Descriptor]):
    """Sees what this process has open."""

    kind = "fd"
    watching = ("/proc/self/fd",)

    def __init__(self, scene: Scene, targets: Targets) -> None:
        super().__init__(scene)
        self._targets = targets
        self.unable = None if procfs.exists() else "this system does not list what a process has open"
        self._drops = Drops(scene, targets)
        self._listed: set[tuple[int, str]] = set()
        self._listed_for = 0

    def begin(self) -> Callable[[], None]:
        self._folder = procfs.Opened("/proc/self/fd", folder=True)
        # Its size is their number.
        self.count = self._folder.size if self._folder.size() else self._lowest
        # Captured output is turned to and fro between these.
        self._standing = {target for _, target in _open() if _steady(target)}
        return self._folder.close

    def _lowest(self) -> int:
        # Older kernels do not tell how many there are; the lowest free number moves with most changes.
        lowest = os.dup(self._folder.fd)
        os.close(lowest)
        return lowest

    @property
    def restless(self) -> bool:
        return self._news or self._listed_for > 0

    def moved(self) -> bool:
        # A number hides one that was opened behind one that was closed: of a test, or of another thread that
        # had a file open just when they were counted.
        if super().moved():
            self._listed_for = _LISTED_FOR
            return True
        if self._listed_for and self.unable is None:
            self._listed_for -= 1
            return set(_open()) != self._listed
        return False

    def look(self) -> Mapping[tuple[int, str], _Descriptor]:
        self._listed = set(_open())
        return {found: _Descriptor(*found) for found in self._listed if found[1] not in self._standing}

    def what(self, detail: _Descriptor) -> str:
        return f"open {detail.flavour}"

    def known(self, suspect: Suspect) -> str | None:
        if not isinstance(suspect, DescriptorSuspect):
            return None
        return kept_fd(suspect.descriptor.fd) or kept_for_good(suspect)

    def suspect(self, key: tuple[int, str], detail: _Descriptor, birth: Birth) -> DescriptorSuspect:
        del key
        return DescriptorSuspect(detail, birth, self._targets)

    def warned(self, message: str, frame: FrameType | None) -> None:
        """Hear a ``ResourceWarning`` that was given in ``frame``, by whoever listens to them."""
        if self.unable is None:
            self._news |= self._drops.warned(message, frame, self.look(), self._births)

    def suspects(self) -> list[Suspect]:
        return super().suspects() + self._drops.suspects()

    def seen(self) -> dict[str, int]:
        return {self.kind: self._seen + self._drops.seen}
