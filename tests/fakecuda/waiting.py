"""Waiting for what another thread or process brings about, never for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["until"]


def until(condition: Callable[[], object], limit: float = 30.0) -> int:
    """Ask until the answer is true; return how often it was not.

    Raises
    ------
    AssertionError
        It did not become true within ``limit`` seconds.
    """
    end, asked = time.monotonic() + limit, 0
    while not condition():
        asked += 1
        assert time.monotonic() < end, f"still not so after {limit:g} s, asked {asked} times"
        time.sleep(0.002)
    return asked
