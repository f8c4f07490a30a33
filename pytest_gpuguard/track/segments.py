"""Shared memory segments that stay in ``/dev/shm`` although their owner has ended.

That folder is the whole host's: ours is what was created here, or is mapped here and new.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.looking import LookingProbe
from pytest_gpuguard.track.objects import instances
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.stacks import capture
from pytest_gpuguard.track.words import sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["SegmentProbe", "SegmentSuspect", "segments_of"]

_FOLDER = "/dev/shm"  # noqa: S108 - where the system keeps them


class _Segment(NamedTuple):
    """A segment as the system has it."""

    name: str
    nbytes: int
    mapped: bool


def segments_of(name: str) -> list[object]:
    """Return the objects that stand for a segment of multiprocessing."""
    segments = instances("multiprocessing.shared_memory:SharedMemory")
    return [owner for owner in segments if str(vars(owner).get("_name")).lstrip("/") == name]


class SegmentSuspect(Suspect):
    """A segment whose owner has ended."""

    kind = "shm"
    code = "GPG104"
    patient = False

    def __init__(self, segment: _Segment, birth: Birth, manager: object = None) -> None:
        self.segment, self.birth, self._manager = segment, birth, manager

    @property
    def what(self) -> str:
        return self.birth.what

    @property
    def title(self) -> str:
        return (
            "shared memory segment" if self.segment.mapped else "shared memory segment, closed, not unlinked"
        )

    @property
    def nbytes(self) -> int:
        return self.segment.nbytes

    @property
    def things(self) -> list[object]:
        mine = segments_of(self.segment.name)
        # Its process unlinks it when the manager ends: until then it is as much the manager's.
        return mine if self._manager is None else [*mine, self._manager]

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        return {"name": sound(self.segment.name), "mapped": self.segment.mapped}

    def reap(self, timeout: float) -> str:
        """Take its name away: the memory goes with the last process that maps it."""
        del timeout
        if self.birth.certainty not in {"exact", "inherited"}:
            return "left alone: it was not seen being created here"
        try:
            Path(_FOLDER, self.segment.name).unlink()
        except OSError as error:
            return f"not unlinked: {error.strerror}"
        return "stopped: unlinked"


class SegmentProbe(LookingProbe[_Segment]):
    """Sees the segments of this process, and where :mod:`multiprocessing` creates them."""

    kind = "shm"
    watching = (_FOLDER,)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.unable = None if Path(_FOLDER).is_dir() else f"there is no {_FOLDER}"
        self._created: dict[str, Birth] = {}
        self._managers: dict[str, weakref.ref[object]] = {}
        self._foreign: set[tuple[str, int]] = set()

    def begin(self) -> Callable[[], None]:
        self._folder = procfs.Opened(_FOLDER, folder=True)
        # Other processes move it as well, which costs a look and nothing else.
        self.count = procfs.changes_of(self._folder.fd)
        self._foreign = {(entry.name, entry.inode()) for entry in os.scandir(_FOLDER)}
        try:
            import _posixshmem  # type: ignore[import-not-found]
        except ImportError:
            return self._folder.close
        original = _posixshmem.shm_open

        def shm_open(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
            fd: int = original(path, flags, *args, **kwargs)
            if flags & os.O_CREAT:
                name, caller = path.lstrip("/"), sys._getframe(1)  # noqa: SLF001
                self._created[name] = self._scene.born("shared memory segment", capture(caller))
                manager = _manager(caller)
                if manager is not None:
                    self._managers[name] = weakref.ref(manager)
            return fd

        _posixshmem.shm_open = shm_open

        def undo() -> None:
            if _posixshmem.shm_open is shm_open:
                _posixshmem.shm_open = original
            self._folder.close()

        return undo

    def moved(self) -> bool:
        if self.unable is not None:
            return False
        counted = self.count()
        if counted != self._counted and self.look().keys() == self._births.keys():
            # Somebody else's: told once here, it is not worth a judgement.
            self._counted = counted
        return super().moved()

    def look(self) -> Mapping[tuple[str, int], _Segment]:
        entries = {(entry.name, entry.inode()) for entry in os.scandir(_FOLDER)}
        self._foreign &= entries
        new = entries - self._foreign
        names = {name for name, _ in entries}
        for name in [name for name in self._created.copy() if name not in names]:
            self._created.pop(name, None)
            self._managers.pop(name, None)
        if not new:
            return {}
        mapped = {
            file.removeprefix(f"{_FOLDER}/") for *_, file in procfs.mapped() if file.startswith(_FOLDER)
        }
        found = {}
        for name, inode in new:
            if name in mapped or name in self._created:
                found[name, inode] = _Segment(name, _size(name), name in mapped)
        return found

    def born(self, key: tuple[str, int], detail: _Segment) -> Birth:
        return self._created.get(key[0]) or super().born(key, detail)

    def what(self, detail: _Segment) -> str:
        return f"shared memory segment {re.sub('[0-9a-f]{4,}|[0-9]+', 'N', detail.name)}"

    def suspect(self, key: tuple[str, int], detail: _Segment, birth: Birth) -> SegmentSuspect:
        manager = self._managers.get(key[0], lambda: None)()
        return SegmentSuspect(detail, birth, manager)


def _manager(frame: FrameType | None) -> object | None:
    """Return the manager whose method is on the stack, which gives its process the name of the segment."""
    cls: Any = getattr(sys.modules.get("multiprocessing.managers"), "SharedMemoryManager", None)
    methods = {
        getattr(getattr(cls, name, None), "__code__", None) for name in ("SharedMemory", "ShareableList")
    }
    while frame is not None:
        if frame.f_code in methods:
            manager: object = frame.f_locals.get("self")
            return manager
        frame = frame.f_back
    return None


def _size(name: str) -> int:
    try:
        return Path(_FOLDER, name).stat().st_size
    except OSError:
        return 0
