"""Figures of a test as properties of its case in JUnit files; they ride on its report, also under xdist."""

from __future__ import annotations

from typing import Any

__all__ = ["junit_properties"]


def junit_properties(payload: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the properties of a test, but for ``gpuguard.waited_s``, which is set with the wait."""
    found: list[tuple[str, object]] = []
    leaks = payload.get("leaks", [])
    if leaks:
        found.append(("gpuguard.leaks", len(leaks)))
    if any(leak.get("known") for leak in leaks):
        found.append(("gpuguard.leaks_known", sum(bool(leak.get("known")) for leak in leaks)))
    peak = payload.get("facts", {}).get("peak", {}).get("pinned")
    if peak:
        found.append(("gpuguard.peak_nbytes", peak))
    return found
