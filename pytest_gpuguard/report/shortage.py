"""The dossier of memory that ran out, as text: who held what at that moment. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.report.dossier import process_lines
from pytest_gpuguard.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Occupied", "shortage"]

_MOST_USERS = 12


class Occupied(NamedTuple):
    """A device: what of it is free, and who has how much, by name; or why nobody can say."""

    name: str
    uuid: str
    free: int = 0
    total: int = 0
    users: Sequence[tuple[int, str, int | None]] = ()
    unknown: str = ""


def shortage(
    headline: str,
    error: str,
    devices: Iterable[Occupied],
    host: str,
    budget: Iterable[str],
    states: Iterable[dict[str, Any]],
    silent: Iterable[str] = (),
) -> str:
    """Return the whole text.

    Parameters
    ----------
    headline, error
        Which test, and what it was told.
    devices, host
        What is free, and who has the rest.
    budget
        What was claimed by whom, of this run and others.
    states
        What each process of the run does and holds, as they write them when they are asked.
    silent
        Names of processes that did not answer.
    """
    lines = [headline, f"  {error}"]
    for device in devices:
        lines += _device_lines(device)
    lines.append(f"  host  {host}")
    lines += [f"  budget  {line}" for line in budget]
    for state in states:
        lines += process_lines(state)
    lines += [f"  {worker}  did not answer in time" for worker in silent]
    lines += [
        "  hint: a mark such as gpu(memory=, pinned=) on the tests that need much keeps them apart;",
        "        what earlier tests left behind must be freed by the fixture that made it",
    ]
    return "\n".join(lines)


def _device_lines(device: Occupied) -> list[str]:
    start = f"  device {device.name} ({device.uuid})  "
    if device.unknown:
        return [start + device.unknown]
    lines = [f"{start}{format_bytes(device.free)} of {format_bytes(device.total)} free"]
    for pid, who, nbytes in device.users[:_MOST_USERS]:
        amount = format_bytes(nbytes) if nbytes is not None else "not told how much"
        lines.append(f"      pid {pid}  {who}  {amount}")
    if len(device.users) > _MOST_USERS:
        lines.append(f"      and {len(device.users) - _MOST_USERS} more")
    return lines
