"""What leaked, by kind: one structure each, told apart by ``kind``.

A kind that is not known here, because a newer version or a probe of somebody else's wrote it, is kept as
:class:`OtherSubject` and shown by its fields.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "BufferSubject",
    "DeviceSubject",
    "EventSubject",
    "FdSubject",
    "Frame",
    "MemorySubject",
    "OtherSubject",
    "PinnedSubject",
    "ProcessSubject",
    "RegisteredSubject",
    "SharedMemorySubject",
    "StreamSubject",
    "Subject",
    "ThreadSubject",
    "known_subject",
]


class Frame(msgspec.Struct, frozen=True):
    """One line of a stack; ``role`` is test, fixture, app, library or harness."""

    file: str
    line: int
    function: str
    role: str


class ThreadSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="thread"):
    """A thread; ``now`` is its stack when it was judged.

    ``flavour`` is python (started through ``threading``), raw (through ``_thread``) or native (known to the
    system alone, named from its task list). ``cpu`` is the share of one CPU that it used while it was
    waited for, None where that was not measured.
    """

    name: str
    daemon: bool = False
    target: str = ""
    now: list[Frame] = []
    flavour: str = "python"
    native_id: int = 0
    cpu: float | None = None


class ProcessSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="process"):
    """A child process; ``state`` is running, stopped or zombie."""

    pid: int
    name: str
    command: list[str] = []
    state: str = "running"
    cpu: float | None = None


class BufferSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="buffer"):
    """Memory that CUDA knows.

    ``allocator`` is the call that made it, ``device`` its index (None for host memory that belongs to no
    device), ``flavour`` what the kind does not say (mapped, managed, pooled), ``holders`` who keeps it alive
    (only with the switch ``referrers``), ``seen_by`` the probe that saw it.
    """

    allocator: str
    device: int | None = None
    flavour: str = ""
    holders: list[str] = []
    seen_by: str = ""


class PinnedSubject(BufferSubject, frozen=True, tag_field="kind", tag="pinned"):
    """Page-locked or mapped host memory."""


class RegisteredSubject(BufferSubject, frozen=True, tag_field="kind", tag="registered"):
    """Ordinary host memory that was registered with the driver."""


class DeviceSubject(BufferSubject, frozen=True, tag_field="kind", tag="device"):
    """Device or managed memory."""


class StreamSubject(BufferSubject, frozen=True, tag_field="kind", tag="stream"):
    """A stream."""


class EventSubject(BufferSubject, frozen=True, tag_field="kind", tag="event"):
    """An event."""


class SharedMemorySubject(msgspec.Struct, frozen=True, tag_field="kind", tag="shm"):
    """A shared memory segment; ``mapped`` says whether this process still maps it."""

    name: str
    mapped: bool = True
    holders: list[str] = []


class FdSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="fd"):
    """A file descriptor; ``flavour`` is file, socket, pipe or other, ``target`` what it leads to."""

    fd: int
    flavour: str
    target: str = ""

    @property
    def lasting(self) -> bool:
        """Whether it is a file with a name of its own: it is one defect, whoever opens it."""
        return self.flavour == "file" and not self.target.startswith(("<tmp>/", "<tmp_path>/"))


class MemorySubject(msgspec.Struct, frozen=True, tag_field="kind", tag="memory"):
    """Host memory outside of Python's view that grew; ``sources`` are bytes by who measured them."""

    sources: dict[str, int]
    confirmed: bool = False


class OtherSubject(msgspec.Struct, frozen=True, tag_field="kind", tag="other"):
    """Something of a kind that this version does not know."""

    of: str
    fields: dict[str, Any] = {}


Subject = (
    ThreadSubject
    | ProcessSubject
    | PinnedSubject
    | RegisteredSubject
    | DeviceSubject
    | StreamSubject
    | EventSubject
    | SharedMemorySubject
    | FdSubject
    | MemorySubject
    | OtherSubject
)

_KNOWN = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        ThreadSubject,
        ProcessSubject,
        PinnedSubject,
        RegisteredSubject,
        DeviceSubject,
        StreamSubject,
        EventSubject,
        SharedMemorySubject,
        FdSubject,
        MemorySubject,
        OtherSubject,
    )
)


def known_subject(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a subject as plain values in a form that this version can read."""
    kind = str(fields.get("kind", ""))
    if kind in _KNOWN:
        return fields
    return {"kind": "other", "of": kind, "fields": {name: fields[name] for name in fields if name != "kind"}}
