"""Looks into the fake driver and steers it, in the process that loaded it or from another one.

What can be set and read is one block of memory (``csrc/page.h`` describes it), which ``attach`` finds in this
process and ``Control.open`` in the file of another process, alive or dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fakecuda.page import CALLS, ENGINES, KINDS, LAUNCHES, VERSION, Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "ENGINES",
    "KINDS",
    "Call",
    "Control",
    "Counter",
    "Driver",
    "Fault",
    "LaunchRecord",
    "as_text",
    "attach",
    "is_loaded",
]

_AMOUNTS = ("device_bytes", "pinned_bytes", "pinned_regions", "deferred", "shared", "poison")
_SECONDS = ("pin_seconds", "pin_byte_seconds", "hang_limit")
_PER_ENGINE = {
    f"{engine}_{field.removeprefix('op_')}": (field, index)
    for index, engine in enumerate(ENGINES)
    for field in ("op_seconds", "unit_seconds")
}


class Counter(NamedTuple):
    """How much of one kind there is: handles or allocations, and bytes."""

    live: int
    total: int
    bytes: int
    peak: int


class Call(NamedTuple):
    """One call of the driver; ``when`` is on the clock of ``time.monotonic()``."""

    name: str
    result: int
    thread: int
    number: int
    when: float


class LaunchRecord(NamedTuple):
    """One launch, under the kernel's mangled name."""

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    device: int
    stream: int


@dataclass(frozen=True)
class Fault:
    """A function that fails, hangs or dawdles.

    Parameters
    ----------
    name
        The function without version suffix (``cuEventQuery``), or ``kernel`` or ``copy``: an operation on the
        device, whose failure is seen only by later calls and stays.
    code
        The ``CUresult`` to return; 0 to go on as usual after a hang or a delay.
    first, last
        Which calls are hit, counted from 1 since the fault was set; ``last=None`` means all later ones.
    sticky
        Every call after this one fails with ``code`` as well, until the process ends; but for those that only
        look at contexts and devices.
    hang
        The call does not return before it is released, or ``hang_limit`` is over.
    slow
        Seconds by which the call is delayed.
    """

    name: str
    code: int = 0
    first: int = 1
    last: int | None = None
    sticky: bool = False
    hang: bool = False
    slow: float = 0.0

    def __str__(self) -> str:
        which = f"{self.first}-{'' if self.last is None else self.last}"
        actions = [str(self.code)] * bool(self.code) + ["sticky"] * self.sticky + ["hang"] * self.hang
        return ":".join([self.name, which, *actions, *([f"slow={self.slow}"] if self.slow else [])])


def as_text(settings: dict[str, float]) -> str:
    """Return settings as the text of the environment variable that carries them to a child."""
    known = (*_AMOUNTS, *_SECONDS, *_PER_ENGINE)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"no such settings: {', '.join(unknown)}; there are {', '.join(known)}")
    return " ".join(f"{name}={int(v) if name in _AMOUNTS else float(v)}" for name, v in settings.items())


class Control:
    """What one process's fake driver was told and has found."""

    def __init__(self, page: Page) -> None:
        if page.version != VERSION or page.size != ctypes.sizeof(Page):
            raise RuntimeError(
                f"the page has version {page.version} and {page.size} bytes, "
                f"control.py expects version {VERSION} and {ctypes.sizeof(Page)}: they must change together"
            )
        self._page = page

    @classmethod
    def open(cls, path: Path) -> Control:
        """Look into another process by way of its file in ``FAKECUDA_DIR``."""
        with path.open("r+b") as file:
            return cls(Page.from_buffer(mmap.mmap(file.fileno(), 0)))

    @property
    def pid(self) -> int:
        """The process."""
        return int(self._page.pid)

    @property
    def sticky(self) -> int:
        """The error that every call returns now but those that only look at contexts and devices, or 0."""
        return int(self._page.sticky)

    @property
    def hanging(self) -> int:
        """How many calls and operations hang."""
        return int(self._page.hanging)

    @property
    def stalls(self) -> int:
        """How many frees had to wait for work that did not touch what they freed."""
        return int(self._page.stalls)

    @property
    def device_used(self) -> tuple[int, ...]:
        """Bytes allocated on each visible device."""
        return tuple(self._page.device_used[: self._page.devices])

    @property
    def contexts(self) -> tuple[int, ...]:
        """How many contexts there are on each visible device."""
        return tuple(self._page.contexts[: self._page.devices])

    def set(self, **settings: float) -> None:
        """Change settings from now on: names as in ``page.h``, for engines ``h2d_seconds`` and the like."""
        as_text(settings)
        for name, value in settings.items():
            if name in _PER_ENGINE:
                field, index = _PER_ENGINE[name]
                getattr(self._page, field)[index] = value
            else:
                setattr(self._page, name, int(value) if name in _AMOUNTS else value)

    def get(self, name: str) -> float:
        """Return one setting."""
        if name in _PER_ENGINE:
            field, index = _PER_ENGINE[name]
            return float(getattr(self._page, field)[index])
        value: float = getattr(self._page, name)
        return value

    @contextlib.contextmanager
    def setting(self, **settings: float) -> Iterator[None]:
        """Change settings for the length of a block."""
        before = {name: self.get(name) for name in settings}
        self.set(**settings)
        try:
            yield
        finally:
            self.set(**before)

    def counter(self, kind: str) -> Counter:
        """Return the counts of one of ``KINDS``."""
        found = self._page.counters[KINDS.index(kind)]
        return Counter(found.live, found.total, found.bytes, found.peak)

    def live(self) -> dict[str, int]:
        """Return how many there are of each kind of which there are any."""
        return {kind: count.live for kind in KINDS if (count := self.counter(kind)).live}

    def calls(self, name: str | None = None) -> list[Call]:
        """Return the latest calls (up to 4096), oldest first."""
        total = self._page.calls
        found = (self._page.call_log[i % CALLS] for i in range(max(0, total - CALLS), total))
        calls = [Call(c.name.decode(), c.result, c.thread, c.number, c.when) for c in found]
        return [call for call in calls if name in {None, call.name}]

    def launches(self) -> list[LaunchRecord]:
        """Return the latest launches (up to 1024), oldest first."""
        total = self._page.launches
        found = (self._page.launch_log[i % LAUNCHES] for i in range(max(0, total - LAUNCHES), total))
        return [
            LaunchRecord(x.name.decode(), tuple(x.grid), tuple(x.block), x.shared, x.device, x.stream)
            for x in found
        ]

    def release(self) -> None:
        """End all hangs of this moment."""
        self._page.released += 1


class Driver(Control):
    """The fake driver (or fake NVML) in this process."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.fakecuda_page.restype = ctypes.POINTER(Page)
        library.fakecuda_faults.argtypes = (ctypes.c_char_p,)
        super().__init__(library.fakecuda_page().contents)
        self.library: Any = library

    def fail(self, *faults: Fault) -> None:
        """Replace all faults by these; without any, nothing fails any more (but a sticky error stays)."""
        text = " ".join(map(str, faults))
        if not self.library.fakecuda_faults(text.encode()):
            raise ValueError(f"the driver cannot read the faults '{text}'")

    @contextlib.contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """Have faults for the length of a block."""
        self.fail(*faults)
        try:
            yield
        finally:
            self.fail()

    def host_view(self, address: int) -> int:
        """Return where the host can read and write what ``address`` means to the device."""
        view = self.library.fakecuda_host_view
        view.argtypes, view.restype = (ctypes.c_uint64,), ctypes.c_void_p
        return int(view(address) or 0)


def attach(soname: str = "libcuda.so.1") -> Driver:
    """Return the control of the fake driver that this process finds under its name.

    Raises
    ------
    RuntimeError
        The library there is none of ours, or there is none.
    """
    try:
        library = ctypes.CDLL(soname)
    except OSError as error:
        raise RuntimeError(f"{soname} is not to be found: run this in the fake lane ({error})") from error
    if not hasattr(library, "fakecuda_page"):
        raise RuntimeError(f"the {soname} of this process is not the fake one")
    return Driver(library)


def is_loaded() -> bool:
    """Whether this process runs in the fake lane."""
    try:
        attach()
    except RuntimeError:
        return False
    return True
