"""Names for messages: pids, states.

Nothing here decides anything, so whatever cannot be seen is simply not said.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pytest_gpuguard.budget.model import Person
from pytest_gpuguard.ledger.mutex import flock_owners
from pytest_gpuguard.ledger.notes import Note

__all__ = ["DEAD_OWNER", "identify", "mutex_holder", "person", "stat_fields", "with_open_file"]

_PROC = Path("/proc")
DEAD_OWNER = "dead owner, forked child lives"


def stat_fields(text: str) -> tuple[str, int]:
    """Return state letter and start (clock ticks since boot) from the text of ``/proc/<pid>/stat``."""
    # The command's name stands in brackets and may itself contain brackets and blanks.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def identify(label: str, proc: Path = _PROC) -> Note:
    """Return the note by which this process can be recognised."""
    namespace, started = 0, 0
    with suppress(OSError, ValueError, IndexError):
        namespace = (proc / "self/ns/pid").stat().st_ino
        started = stat_fields((proc / "self/stat").read_text(encoding="utf-8", errors="replace"))[1]
    return Note(pid=os.getpid(), namespace=namespace, started=started, label=label)


def person(slot: int, note: Note, *, asks: bool = False, proc: Path = _PROC) -> Person:
    """Return who wrote ``note``: what its leases are for, or with ``asks`` what it waits for."""
    held = ", ".join(lease.label for lease in note.leases if lease.label)
    return Person(slot, note.pid, note.label if asks or not held else held, _state(note, proc))


def _state(note: Note, proc: Path) -> str:
    if not note.pid:
        return "unknown"
    with suppress(OSError):
        if note.namespace != (proc / "self/ns/pid").stat().st_ino:
            return "in another PID namespace"
    try:
        letter, started = stat_fields(
            (proc / str(note.pid) / "stat").read_text(encoding="utf-8", errors="replace")
        )
    except (OSError, ValueError, IndexError):
        letter, started = "X", -1
    if started != note.started or letter in "XZ":
        return DEAD_OWNER
    return "stopped" if letter in "Tt" else "running"


def mutex_holder(fd: int, proc: Path = _PROC) -> str:
    """Return ``": held by pid 7 (stopped)"`` for the mutex behind ``fd``."""
    try:
        owners = flock_owners((proc / "locks").read_text(encoding="utf-8", errors="replace"), os.fstat(fd))
    except OSError:
        return ""
    named = ", ".join(f"pid {pid}{' (stopped)' if _letter(pid, proc) in 'Tt' else ''}" for pid in owners)
    return f": held by {named}" if named else ": its holder cannot be seen from this PID namespace"


def _letter(pid: int, proc: Path) -> str:
    try:
        return stat_fields((proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace"))[0]
    except (OSError, ValueError, IndexError):
        return "?"


def with_open_file(info: os.stat_result, proc: Path = _PROC) -> list[int]:
    """Return the pids that have the file of ``info`` open, as far as we may look."""
    processes = (entry for entry in proc.iterdir() if entry.name.isdigit())
    return sorted(int(entry.name) for entry in processes if _has_open(entry / "fd", info))


def _has_open(descriptors: Path, info: os.stat_result) -> bool:
    with suppress(OSError):
        for descriptor in descriptors.iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), info):
                    return True
    return False
