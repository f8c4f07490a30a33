"""Who sits in a slot, for people to read: names, never numbers that decide anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.ledger.layout import note_name

if TYPE_CHECKING:
    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["MAX_BYTES", "LeaseNote", "Note", "clean", "decode", "encode", "read_note"]

MAX_BYTES = 4096
_LONGEST_TEXT = 512
_MOST_LEASES = 12


class LeaseNote(msgspec.Struct, frozen=True, array_like=True):
    """One lease: what for, and since when (seconds of the boot clock)."""

    label: str
    since: float


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a claimant says of itself.

    Parameters
    ----------
    pid, namespace, started
        Process, its PID namespace (inode number) and its start in clock ticks: a pid alone may be reused.
    label
        What it does now.
    waiting
        Since when it waits, in seconds of the boot clock; 0 when it does not.
    leases
        What it holds.
    """

    pid: int = 0
    namespace: int = 0
    started: int = 0
    label: str = ""
    waiting: float = 0.0
    leases: tuple[LeaseNote, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


def clean(text: str) -> str:
    """Return ``text`` without control characters (they would reach a terminal) and of bounded length."""
    if len(text) > _LONGEST_TEXT:
        text = "..." + text[3 - _LONGEST_TEXT :]
    return text if text.isprintable() else "".join(character for character in text if character.isprintable())


def encode(note: Note) -> bytes:
    """Return ``note`` as at most :data:`MAX_BYTES` bytes, ended by a zero byte."""
    data: bytes = _encoder.encode(note)
    if len(data) >= MAX_BYTES:
        leases = tuple(LeaseNote(lease.label[-60:], lease.since) for lease in note.leases[-_MOST_LEASES:])
        data = _encoder.encode(
            msgspec.structs.replace(note, label=note.label[-200:], leases=leases),
        )
    return (data if len(data) < MAX_BYTES else b"{}") + b"\0"


def decode(data: bytes) -> Note:
    """Return the note in ``data``; what is no note says nothing."""
    try:
        note = _decoder.decode(data.partition(b"\0")[0])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Note()
    # The file may have been written by anything: never trust its text.
    leases = tuple(LeaseNote(clean(lease.label), lease.since) for lease in note.leases)
    return msgspec.structs.replace(note, label=clean(note.label), leases=leases)


def read_note(folder: Folder, slot: int) -> Note:
    """Return what the claimant in ``slot`` says of itself."""
    from pytest_gpuguard.ledger.errors import LedgerUnsafe

    try:
        fd = folder.open_file(note_name(slot))
    except (OSError, LedgerUnsafe):
        return Note()
    try:
        return decode(os.pread(fd, MAX_BYTES + 1, 0))
    finally:
        os.close(fd)
