"""Where in the 63-bit offsets of which file each fact lives.

====== ========= ================================ ===================
fact   file      offset                           length
====== ========= ================================ ===================
SLOT   ledger    slot                             1, for life
NAME   ledger    2^59 + hash of a resource        1, shared, for life
BEAT   ledger    2^59 + 2^58 + slot*2^32 + count  1
TICKET ledger    2^60 + ticket*2^11 + slot        1
HELD   r.<name>  2^59 + slot*2^48                 the amount held
WANT   r.<name>  2^60 + slot*2^48                 the amount wanted
LIMIT  r.<name>  2^60 + 2^59 + limit*2^11 + slot  1, for life
====== ========= ================================ ===================

A limit is a *place* rather than a length: "does anybody have a lower limit than mine?" is then one query
of everything below my own place, whatever the number of participants.
"""

from __future__ import annotations

import hashlib
import re

__all__ = [
    "BEATS",
    "BEAT_COUNTS",
    "EXCLUSIVE",
    "HELD",
    "LEDGER",
    "LIMITS",
    "MAX_AMOUNT",
    "MUTEX",
    "SLOTS",
    "SLOT_COUNT",
    "TICKETS",
    "WANT",
    "amount_start",
    "beat_at",
    "beat_of",
    "bell_name",
    "check_amount",
    "check_resource",
    "limit_at",
    "limit_of",
    "name_at",
    "note_name",
    "resource_file",
    "slot_of_amount",
    "ticket_at",
    "ticket_of",
]

LEDGER, MUTEX = "ledger", "mutex"
# Where ranges do not work, one lock on this file stands for the whole pool.
EXCLUSIVE = "exclusive.lock"

_SLOT_BITS, _AMOUNT_BITS, _BEAT_BITS = 11, 48, 32
SLOT_COUNT = 1 << _SLOT_BITS
MAX_AMOUNT = 1 << _AMOUNT_BITS
BEAT_COUNTS = 1 << _BEAT_BITS

Region = tuple[int, int]

SLOTS: Region = (0, SLOT_COUNT)
_NAMES_START = 1 << 59
BEATS: Region = ((1 << 59) + (1 << 58), (1 << 59) + (1 << 58) + (SLOT_COUNT << _BEAT_BITS))
TICKETS: Region = (1 << 60, 1 << 61)
HELD: Region = (1 << 59, 1 << 60)
WANT: Region = (1 << 60, (1 << 60) + (1 << 59))
LIMITS: Region = ((1 << 60) + (1 << 59), 1 << 61)

_RESOURCE = re.compile(r"[a-z0-9._-]{1,64}")


def check_resource(name: object) -> str:
    """Return ``name`` in lower case (device uuids carry capitals).

    Raises
    ------
    ValueError
        When it is not one to 64 of ``a-z 0-9 . _ -``.
    """
    lowered = name.lower() if isinstance(name, str) else ""
    if _RESOURCE.fullmatch(lowered) is None:
        message = f"a resource is named by 1 to 64 of a-z 0-9 . _ - such as 'pinned', got {name!r}"
        raise ValueError(message)
    return lowered


def check_amount(amount: int) -> int:
    """Return ``amount``.

    Raises
    ------
    ValueError
        When it is too large to be counted.
    """
    if amount >= MAX_AMOUNT:
        message = f"amounts are below 2^48, got {amount}"
        raise ValueError(message)
    return amount


def resource_file(name: str) -> str:
    """Return the file that carries the amounts of resource ``name``."""
    return f"r.{name}"


def bell_name(slot: int) -> str:
    """Return the named pipe by which the claimant in ``slot`` is woken and watched."""
    return f"w.{slot}"


def note_name(slot: int) -> str:
    """Return the file in which the claimant in ``slot`` says who it is."""
    return f"s.{slot}"


def amount_start(region: Region, slot: int) -> int:
    """Return where in ``region`` (:data:`HELD` or :data:`WANT`) the amount of ``slot`` begins."""
    return region[0] + (slot << _AMOUNT_BITS)


def slot_of_amount(region: Region, offset: int) -> int:
    """Return whose amount covers ``offset``."""
    return (offset - region[0]) >> _AMOUNT_BITS


def limit_at(limit: int, slot: int) -> int:
    """Return the place that says "``slot`` works with ``limit``"; lower limits lie at lower places."""
    return LIMITS[0] + (limit << _SLOT_BITS) + slot


def limit_of(offset: int) -> tuple[int, int]:
    """Return ``(limit, slot)`` of a place."""
    place = offset - LIMITS[0]
    return place >> _SLOT_BITS, place & (SLOT_COUNT - 1)


def ticket_at(ticket: int, slot: int) -> int:
    """Return the place of a ticket; earlier tickets lie at lower places."""
    return TICKETS[0] + (ticket << _SLOT_BITS) + slot


def ticket_of(offset: int) -> tuple[int, int]:
    """Return ``(ticket, slot)`` of a place."""
    place = offset - TICKETS[0]
    return place >> _SLOT_BITS, place & (SLOT_COUNT - 1)


def beat_at(slot: int, count: int) -> int:
    """Return the place that says "``slot`` has made ``count`` steps"."""
    return BEATS[0] + (slot << _BEAT_BITS) + count % BEAT_COUNTS


def beat_of(offset: int) -> tuple[int, int]:
    """Return ``(slot, count)`` of a place."""
    place = offset - BEATS[0]
    return place >> _BEAT_BITS, place & (BEAT_COUNTS - 1)


def name_at(name: str) -> int:
    """Return the place that participants who know resource ``name`` lock together.

    It tells a file that was deleted under its users from one that nobody has made yet.
    """
    digest = hashlib.blake2s(name.encode(), digest_size=6).digest()
    return _NAMES_START + int.from_bytes(digest, "big")
