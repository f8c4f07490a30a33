"""Host memory that grew and stayed, outside of Python's own objects; only on request.

Resident memory moves for many reasons. So its growth only asks the question; the verdict needs a second
source that agrees: blocks that malloc has mapped, locked pages, or anonymous regions that are resident.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard import clock
from pytest_gpuguard.track import procfs
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.scope import BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["MemoryProbe", "MemorySuspect"]

MIB = 1 << 20
_ASKS = 4 * MIB
_LEAST = 8 * MIB
_PAGE = 4096
#: Bytes enough for what the system tells of it.
_TELLS = 64
#: What can confirm growth, and from how many bytes on.
_AGREES = {"malloc": _LEAST, "locked": _ASKS, "regions": _LEAST}
#: Bytes of growth that are put down to regions without a look, since Python's own blocks explain them.
_TRUSTED = 16 * MIB
_MANY_MODULES = 20
#: Bytes of a block of Python's own allocator, as a mean.
_BLOCK = 128


class _Levels(NamedTuple):
    """How much there is, in bytes: of resident anonymous and shared memory, and of what may explain it."""

    resident: int
    python: int
    malloc: int
    locked: int
    regions: int

    def since(self, other: _Levels) -> _Levels:
        """Return by how much each has grown."""
        return _Levels(*(now - then for now, then in zip(self, other, strict=True)))


class _Mallinfo(ctypes.Structure):
    # Blocks that malloc has mapped come fifth; see mallinfo2(3).
    _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "hblkhd", "f", "g", "h", "i", "j")]


def _malloced() -> int:
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo.restype = _Mallinfo
    return int(mallinfo().hblkhd)


def _regions() -> int:
    """Return the resident bytes of anonymous and shared regions but for the heap of small blocks."""
    total, counts = 0, False
    for line in procfs.slurp("/proc/self/smaps").splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            counts = len(words) < 6 or words[5].startswith(("/dev/zero", "/memfd", "[anon"))
        elif counts and words[0] == "Rss:":
            total += int(words[1]) * 1024
    return total


def _levels(regions: Callable[[], int] | None = None) -> _Levels:
    status = dict(
        line.split(":", 1) for line in procfs.slurp("/proc/self/status").splitlines() if ":" in line
    )
    kib = {name: int(status.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem", "VmLck")}
    return _Levels(
        kib["RssAnon"] + kib["RssShmem"],
        sys.getallocatedblocks() * _BLOCK,
        _malloced(),
        kib["VmLck"],
        (regions or _regions)(),
    )


@dataclass(eq=False)
class MemorySuspect(Suspect):
    """Memory that grew under an owner that has ended."""

    birth: Birth
    sources: dict[str, int] = field(default_factory=dict)
    kind = "memory"
    code = "GPG106"
    patient = False
    by_reference = True
    what = title = "host memory that grew and stayed"

    @property
    def nbytes(self) -> int:
        return self.sources["resident"]

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        return {"sources": self.sources, "confirmed": len(self.sources) > 1}


def _resident_in(told: bytes) -> int:
    """Return the resident bytes of what the system tells: pages, the whole size first."""
    return int(told.split(b" ", 2)[1]) * _PAGE


class MemoryProbe:
    """Compares what a test leaves with what it found."""

    kinds = frozenset({"memory"})
    watching = ("resident memory, malloc, locked pages and regions",)
    restless = False

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.unable = None if procfs.exists() else "this system does not tell how a process uses its memory"
        self._pages = 0
        # What the system has told last and is worth no look.
        self._told = b""
        # Of the regions as they were taken last, what nobody has looked at.
        self._trusted = 0
        self._found: list[MemorySuspect] = []
        self._seen = 0
        self._modules = 0

    def install(self) -> Callable[[], None]:
        if self.unable is not None:
            return lambda: None
        self._statm = procfs.Opened("/proc/self/statm")
        self._rebase(_levels())
        return self._statm.close

    def _rebase(self, levels: _Levels) -> None:
        self._levels, self._modules = levels, len(sys.modules)
        self._pages, self._told = self._resident(), b""

    def _resident(self) -> int:
        return _resident_in(os.pread(self._statm.fd, _TELLS, 0))

    @property
    def pulses(self) -> tuple[Callable[[], object], ...]:
        return (self._pulse,) if self.unable is None else ()

    def _pulse(self) -> object:
        # Often, since each test leaves a report, and nearly always no more than that.
        told = os.pread(self._statm.fd, _TELLS, 0)
        if told != self._told:
            if abs(_resident_in(told) - self._pages) > _ASKS:
                # What has grown is never like anything: a test may grow right after one that did.
                return object()
            self._told = told
        return None

    def moved(self) -> bool:
        if self.unable is not None:
            return False
        if abs(self._resident() - self._pages) > _ASKS:
            return True
        # What was loaded until now is no reason for what grows from here on.
        self._modules = len(sys.modules)
        return False

    def sweep(self) -> None:
        """Put growth down to what is in force, once it is there for sure."""
        if not self.moved() or self._explained():
            return
        # Some milliseconds: asked for once, unless it is about to be held against somebody.
        levels = _levels()
        self._trusted = 0
        if self._resident() > self._pages:
            grown = self._grown(levels)
            if grown:
                # Garbage is no growth; but to collect costs more than most tests.
                gc.collect()
                levels = _levels()
                grown = self._grown(levels)
            if grown:
                self._add(grown)
        else:
            self._give_back(self._levels.resident - levels.resident)
        self._rebase(levels)

    def _explained(self) -> bool:
        """Go on from here without a look at the regions, where Python's own objects are all that has come.

        They lie in regions, so these are taken to have grown by as much: rather too much than too little,
        which could be held against the next one.
        """
        levels = _levels(lambda: self._levels.regions)
        grown = levels.since(self._levels)
        trusted = self._trusted + grown.resident
        if not 0 < grown.resident <= grown.python or trusted > _TRUSTED:
            return False
        self._trusted = trusted
        self._rebase(levels._replace(regions=levels.regions + grown.resident))
        return True

    def _grown(self, levels: _Levels) -> dict[str, int]:
        """Return by how much memory has grown, by each source that confirms it; empty without any."""
        grown = levels.since(self._levels)
        told = grown._asdict()
        sources = {name: told[name] for name, least in _AGREES.items() if told[name] > least}
        loaded = len(sys.modules) - self._modules > _MANY_MODULES and "malloc" not in sources
        real = grown.resident - max(0, grown.python)
        return {"resident": real, **sources} if real > _LEAST and sources and not loaded else {}

    def _add(self, grown: dict[str, int]) -> None:
        birth = self._scene.found(MemorySuspect.what, (), "inferred", clock.monotonic())
        if birth.owner is not BEFORE:
            self._seen += 1
            self._found.append(MemorySuspect(birth, grown))

    def suspects(self) -> Iterable[Suspect]:
        self.sweep()
        return [one for one in self._found if one.birth.owner.ended and not one.birth.reported]

    def _give_back(self, freed: int) -> None:
        """Drop what was given back and not reported: first of who has ended, and then the nearest in size."""

        def unlike(one: MemorySuspect) -> tuple[bool, int]:
            return not one.birth.owner.ended, abs(freed - one.nbytes)

        open_ = [one for one in reversed(self._found) if not one.birth.reported]
        while fits := [one for one in open_ if freed > one.nbytes // 2]:
            gone = min(fits, key=unlike)
            freed -= gone.nbytes
            open_.remove(gone)
            self._found.remove(gone)

    def looked(self) -> None:
        """Do nothing: a sweep looks."""

    def abandoned(self) -> Iterable[Suspect]:
        return [one for one in self._found if one.birth.reported]

    def known(self, suspect: Suspect) -> str | None:
        del suspect
        return None

    def seen(self) -> dict[str, int]:
        return {"memory": self._seen}

    def stood(self) -> dict[str, int]:
        return {}

    def existed(self) -> dict[str, int]:
        return {}
