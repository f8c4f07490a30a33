"""What tests vary and everybody else leaves alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuguard import clock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "boot_clock"]


def boot_clock() -> float:
    """Return seconds since boot, sleep included: one clock for all processes, for ages in messages."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _no_seam(_step: str) -> None:
    """Do nothing after a step."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Times, clocks and seams of one participant.

    Parameters
    ----------
    safety
        Longest sleep between two looks, in seconds: insurance for wake-ups that could not be sent.
    grace
        A waiter that could take but has not for so long (it is stopped) is passed over.
    mutex_timeout
        Longest wait for the mutex.
    seam
        Told the name of each step just made: tests kill, stop or fail there.
    monotonic, boot_clock, sleep
        The clocks.
    """

    safety: float = 0.25
    grace: float = 2.0
    mutex_timeout: float = 10.0
    seam: Callable[[str], None] = _no_seam
    monotonic: Callable[[], float] = clock.monotonic
    boot_clock: Callable[[], float] = boot_clock
    sleep: Callable[[float], None] = clock.sleep
