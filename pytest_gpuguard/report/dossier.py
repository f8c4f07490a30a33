"""The dossier of a stall as text: what each process of the run does, holds and waits for. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_gpuguard.budget.wording import amount_text
from pytest_gpuguard.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["dossier", "dossier_edges", "dossier_states", "process_lines"]

_MOST_SHOWN = 4


def dossier(
    headline: str,
    states: Iterable[dict[str, Any]],
    edges: Sequence[dict[str, Any]],
    silent: Iterable[str] = (),
    stacks: str = "",
) -> str:
    """Return the whole text.

    Parameters
    ----------
    headline
        Which test, for how long, what becomes of it.
    states
        As processes write them when they are asked.
    edges
        Who waits for whom, as the record has it.
    silent
        Names of processes that did not answer.
    stacks
        The file with the stacks of the stalled process.
    """
    lines = [headline]
    for state in states:
        lines += process_lines(state)
    lines += [
        f"  {worker}  did not answer: it is stopped, or something in it holds the GIL" for worker in silent
    ]
    lines += [f"  {_edge(edge)}" for edge in edges]
    if stacks:
        lines.append(f"  stacks of all threads: {stacks} in the run's folder")
    lines.append("  hint: what is still held must be given back by the fixture that took it;")
    lines.append("        --gpuguard-reap stops leaked threads, --gpuguard-stall-end sets this limit")
    return "\n".join(lines)


def dossier_states(states: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return states as the record has them."""
    left_out = {"stacks", "alive", "died"}
    return [{name: value for name, value in state.items() if name not in left_out} for state in states]


def dossier_edges(found: Iterable[tuple[str, str, str, int]]) -> list[dict[str, Any]]:
    """Return edges as the record has them."""
    return [dict(zip(("waiter", "holder", "resource", "amount"), edge, strict=True)) for edge in found]


def _edge(edge: dict[str, Any]) -> str:
    amount, resource = edge["amount"], edge["resource"]
    if not amount:
        return f"{edge['waiter']}  waits for its turn behind  {edge['holder']}"
    return (
        f"{edge['waiter']}  waits for  {edge['holder']}, which has {resource} {amount_text(resource, amount)}"
    )


def process_lines(state: dict[str, Any]) -> list[str]:
    """Return what one process does, holds and has left."""
    lines = [f"  {state['worker']}  pid {state['pid']}  {state['nodeid'] or 'no test'}"]
    if state["nodeid"]:
        lines.append(f"      for {format_seconds(state['idle_s'])} in {state['place']}")
    lines += [f"      a thread of it that it may wait for: {death}" for death in state.get("died", [])]
    lines += [f"      {lease}" for lease in state["leases"]]
    lines += [f"      has {entry}" for entry in state.get("alive", [])]
    if state.get("stacks"):
        lines.append(f"      stacks of all threads: {state['stacks']}")
    left = state["left"]
    if left:
        lines.append(
            f"      left behind by earlier tests, still alive and holding what they hold: {len(left)}"
        )
        alike = Counter(left)
        shown = dict(list(alike.items())[:_MOST_SHOWN])
        for entry, number in shown.items():
            lines.append(f"        {entry}" + (f", {number} times" if number > 1 else ""))
        if len(alike) > len(shown):
            lines.append(f"        and {len(left) - sum(shown.values())} more")
    return lines
