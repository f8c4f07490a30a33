"""Which devices a process may see: the grammar of ``CUDA_VISIBLE_DEVICES``, as the driver reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["choices", "visible"]

_INDEX = re.compile(r"\s*[+]?(\d+)")
_NAMED = ("GPU-", "MIG-")


def visible(setting: str | None, uuids: Sequence[str], parts: Sequence[str] = ()) -> list[str]:
    """Return the uuids that CUDA would number from 0 on.

    The list ends at its first invalid entry; a repeated one makes it empty; a uuid may be cut short where
    that is unique; indexes and names do not mix. Of several MIG parts a process sees the first.

    Parameters
    ----------
    setting
        Value of the variable; None when it is unset.
    uuids
        All devices, in CUDA's order.
    parts
        Uuids of all MIG parts.
    """
    if setting is None:
        return list(uuids)
    if _of_parts(setting):
        return _listed(setting, parts)[:1]
    return _listed(setting, uuids)


def choices(setting: str | None, uuids: Sequence[str], parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the uuids that several processes can be given of what ``setting`` shows.

    Parameters
    ----------
    setting, uuids
        As for :func:`visible`.
    parts
        Uuids of the MIG parts by that of their device. One process sees one part; each can have its own.
    """
    if setting is not None and _of_parts(setting):
        return _listed(setting, [part for of_one in parts.values() for part in of_one])
    return [choice for uuid in visible(setting, uuids) for choice in parts.get(uuid) or [uuid]]


def _of_parts(setting: str) -> bool:
    return setting.lstrip().startswith("MIG-")


def _listed(setting: str, uuids: Sequence[str]) -> list[str]:
    entries = [entry.strip() for entry in setting.split(",")]
    by_name = entries[0].startswith(_NAMED)
    found: list[str] = []
    for entry in entries:
        uuid = _named(entry, uuids) if by_name else _numbered(entry, uuids)
        if uuid is None:
            break
        found.append(uuid)
    return found if len(set(found)) == len(found) else []


def _numbered(entry: str, uuids: Sequence[str]) -> str | None:
    # Like C's strtol: what follows the digits does not count.
    match = _INDEX.match(entry)
    number = int(match[1]) if match else len(uuids)
    return uuids[number] if number < len(uuids) else None


def _named(entry: str, uuids: Sequence[str]) -> str | None:
    if not entry.startswith(_NAMED):
        return None
    matches = [uuid for uuid in uuids if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None
