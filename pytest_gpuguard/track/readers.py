"""Device memory as CuPy, torch and RMM count it themselves, once the suite has loaded them.

They allocate beside numba, and tell only how much is in use. So growth is put down to what is in force, and
what is given back is taken from the youngest growth first. Proved on stand-ins of these libraries, on no
device.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard import clock
from pytest_gpuguard.track.probe import Suspect
from pytest_gpuguard.track.scope import BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gpuguard.track.scope import Birth, Scene
    from pytest_gpuguard.track.stacks import Places

__all__ = ["ReaderProbe", "ReaderSuspect"]


class _Reader(NamedTuple):
    """One figure of one library."""

    library: str
    kind: str
    what: str
    read: Callable[[Any], int]


def _cupy(cupy: Any) -> int:
    return int(cupy.get_default_memory_pool().used_bytes())


def _torch_device(torch: Any) -> int:
    if not torch.cuda.is_initialized():
        return 0
    return sum(int(torch.cuda.memory_allocated(device)) for device in range(torch.cuda.device_count()))


def _torch_pinned(torch: Any) -> int:
    # Newer versions only.
    stats = getattr(torch.cuda, "host_memory_stats", None)
    if stats is None or not torch.cuda.is_initialized():
        return 0
    return int(stats().get("allocated_bytes.current", 0))


def _rmm(rmm: Any) -> int:
    # RMM counts only for who asked it to: where a resource of the suite does, it is read.
    resource = rmm.mr.get_current_device_resource()
    if hasattr(resource, "get_allocated_bytes"):
        return int(resource.get_allocated_bytes())
    counts = getattr(resource, "allocation_counts", None)
    return int(getattr(counts, "current_bytes", 0))


_READERS = (
    _Reader("cupy", "device", "CuPy's device memory", _cupy),
    _Reader("torch", "device", "torch's device memory", _torch_device),
    _Reader("torch", "pinned", "torch's pinned memory", _torch_pinned),
    _Reader("rmm", "device", "RMM's device memory", _rmm),
)
_CODES = {"pinned": "GPG201", "device": "GPG202"}


class ReaderSuspect(Suspect):
    """Memory that a library counted more under an owner that has ended."""

    patient = False
    by_reference = True

    def __init__(self, reader: _Reader, birth: Birth, grown: int) -> None:
        self.reader, self.birth, self.grown = reader, birth, grown

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.reader.kind

    @property
    def code(self) -> str:  # type: ignore[override]
        return _CODES[self.reader.kind]

    @property
    def what(self) -> str:
        return self.reader.what

    @property
    def title(self) -> str:
        return self.reader.what

    @property
    def nbytes(self) -> int:
        return self.grown

    def subject(self, places: Places) -> dict[str, Any]:
        del places
        return {"allocator": "", "seen_by": f"{self.reader.library}'s own count"}


class ReaderProbe:
    """Reads the counts of the libraries that are loaded.

    Parameters
    ----------
    kinds
        ``"pinned"`` and ``"device"``, as far as they are asked for.
    """

    unable = None
    #: An import may bring one of the libraries, for which everybody is asked.
    pulses: tuple[Callable[[], object], ...] = ()

    def __init__(self, scene: Scene, kinds: frozenset[str]) -> None:
        self.kinds = kinds & _CODES.keys()
        self._scene = scene
        self._readers = [reader for reader in _READERS if reader.kind in self.kinds]
        self._libraries = [reader.library for reader in self._readers]
        self._counted: dict[_Reader, int] = {}
        self._grown: list[ReaderSuspect] = []
        self._seen = dict.fromkeys(self.kinds, 0)
        self._news = False

    def install(self) -> Callable[[], None]:
        self._counted = self._read()
        return lambda: None

    @property
    def watching(self) -> list[str]:
        """Which libraries are read."""
        loaded = dict.fromkeys(reader.library for reader in self._readers if reader.library in sys.modules)
        return [f"{library}'s own count (unverified on devices)" for library in loaded]

    def _read(self) -> dict[_Reader, int]:
        counts = {}
        for reader in self._readers:
            module = sys.modules.get(reader.library)
            if module is None:
                continue
            try:
                counts[reader] = reader.read(module)
            except Exception:  # noqa: BLE001, S112 - half imported, or without a device: it has nothing to tell
                continue
        return counts

    @property
    def restless(self) -> bool:
        return not sys.modules.keys().isdisjoint(self._libraries)

    def moved(self) -> bool:
        return self._news or (self.restless and self._read() != self._counted)

    def sweep(self) -> None:
        now = self._read()
        for reader, count in now.items():
            change = count - self._counted.get(reader, 0)
            if change > 0:
                self._add(reader, change)
            elif change < 0:
                self._take(reader, -change)
        self._counted |= now

    def _add(self, reader: _Reader, grown: int) -> None:
        birth = self._scene.found(reader.what, (), "inferred", clock.monotonic())
        self._grown.append(ReaderSuspect(reader, birth, grown))
        self._seen[reader.kind] += birth.owner is not BEFORE
        self._news = True

    def _take(self, reader: _Reader, freed: int) -> None:
        for entry in [entry for entry in reversed(self._grown) if entry.reader is reader]:
            taken = min(freed, entry.grown)
            entry.grown -= taken
            freed -= taken
            if not entry.grown:
                self._grown.remove(entry)

    def looked(self) -> None:
        self._news = False

    def suspects(self) -> Iterable[Suspect]:
        self.sweep()
        return [entry for entry in self._grown if entry.birth.owner.ended and not entry.birth.reported]

    def abandoned(self) -> Iterable[Suspect]:
        return [entry for entry in self._grown if entry.birth.reported]

    def known(self, suspect: Suspect) -> str | None:
        del suspect
        return None

    def seen(self) -> dict[str, int]:
        return dict(self._seen)

    def stood(self) -> dict[str, int]:
        return {}

    def existed(self) -> dict[str, int]:
        return {}
