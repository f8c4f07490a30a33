"""The words of refusals: what happened with numbers, who is involved, what to do. Pure, 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import amount_text, amounts_text, person_text, state_text
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_gpuguard.budget.model import Holder, Snapshot, Waiting

__all__ = ["deadlock", "timed_out", "too_large"]

_WHO_WIDTH = 52


def timed_out(wants: Mapping[str, int], gave_up: str, ticket: int, snapshot: Snapshot) -> str:
    """Return why a claim ran out of patience.

    Parameters
    ----------
    gave_up
        How long it waited and which bound it hit.
    ticket
        Its own ticket; smaller ones are ahead.
    """
    ahead = [waiter for waiter in snapshot.waiters if waiter.ticket < ticket]
    own = next((waiter for waiter in snapshot.waiters if waiter.ticket == ticket), None)
    lines = [f"asked for {amounts_text(wants)}, {gave_up}", ""]
    lines += [_balance(name, snapshot) for name in wants]
    lines.append(f"  {_requests(len(ahead))} ahead of this one")
    if own is not None:
        lines.append(f"  this one waits because: {own.reason}")
    lines += [""]
    lines += _rows("held by", (holder for holder in snapshot.holders if holder.amounts.keys() & wants.keys()))
    lines += _rows("ahead", ahead)
    lines += [f"  note: {line}" for line in snapshot.differences]
    lines += [
        "  hint: if that is expected wait longer, else lower the demand or see why the",
        f"        holders hold on (pool {snapshot.directory})",
    ]
    return "\n".join(lines)


def deadlock(circle: Iterable[int], slot: int, snapshot: Snapshot) -> str:
    """Return why a claim was refused that could never end.

    Parameters
    ----------
    circle
        Slots that wait for one another.
    slot
        The one refused.
    """
    people = [waiter for waiter in snapshot.waiters if waiter.person.slot in set(circle)]
    held = {holder.person.slot: holder for holder in snapshot.holders}
    if len(people) == 1:
        title = "this claim would wait for what its own claimant holds"
    else:
        title = f"{len(people)} claimants would wait for one another for ever"
    lines = [title, ""]
    for waiter in people:
        holder = held.get(waiter.person.slot)
        mine = "   <- refused" if waiter.person.slot == slot else ""
        lines.append(f"  {person_text(holder.person if holder else waiter.person)}{mine}")
        lines.append(f"      holds {amounts_text(holder.amounts if holder else {})}")
        lines.append(f"      wants {amounts_text(waiter.amounts)}")
    limits = {name: snapshot.limits.get(name, 0) for waiter in people for name in waiter.amounts}
    lines += [
        "",
        f"  of {amounts_text(limits)} in all; the newest request was refused at once",
        "  hint: claim the whole amount in one piece before anything is held",
    ]
    return "\n".join(lines)


def too_large(name: str, amount: int, limit: int, own_limit: int | None, differences: Iterable[str]) -> str:
    """Return why a claim can never be granted.

    Parameters
    ----------
    limit, own_limit
        The limit in force, and the one this participant was configured with.
    differences
        Who made it lower.
    """
    lines = [f"asked for {amounts_text({name: amount})}; the whole budget is {amount_text(name, limit)}"]
    if own_limit is None:
        lines = [f"asked for {amounts_text({name: amount})}, of which there is no budget"]
    elif limit < own_limit:
        lines += [f"  configured here are {amount_text(name, own_limit)}, but:"]
        lines += [f"  {line}" for line in differences if line.startswith(f"{name}:")]
    lines.append("  hint: lower the demand, or raise the budget where this much really is there")
    return "\n".join(lines)


def _rows(title: str, people: Iterable[Holder | Waiting]) -> list[str]:
    rows = [line for entry in people for line in _row(entry)]
    return [f"  {title}", *rows] if rows else []


def _row(entry: Holder | Waiting) -> list[str]:
    age = "" if entry.seconds is None else f"  for {format_seconds(entry.seconds)}"
    state = state_text(entry.person)
    lines = [f"  {_clipped(person_text(entry.person)):<{_WHO_WIDTH}} {amounts_text(entry.amounts)}{age}"]
    return [*lines, f"      {state}"] if state else lines


def _clipped(text: str) -> str:
    """Keep both ends: the pid in front, and the test's own name behind."""
    if len(text) <= _WHO_WIDTH:
        return text
    return f"{text[:16]}...{text[19 - _WHO_WIDTH :]}"


def _balance(name: str, snapshot: Snapshot) -> str:
    limit, free = snapshot.limits.get(name, 0), snapshot.free.get(name, 0)
    held = sum(holder.amounts.get(name, 0) for holder in snapshot.holders)
    texts = (amount_text(name, amount) for amount in (limit, held, free))
    return "  {}: {} budget, {} held, {} free".format(name, *texts)


def _requests(count: int) -> str:
    return f"{count} request is" if count == 1 else f"{count} requests are"
