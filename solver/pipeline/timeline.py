"""How long each stage took, measured on the way."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from solver.pipeline.bound import Stages

if TYPE_CHECKING:
    from solver.devices.device import Device, Event

__all__ = ["Marks", "Span", "Timeline"]

Span = tuple["Event", "Event"]
"""Begin and end of an operation on the device."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where one chunk was when, on the device."""

    upload: Span
    run: Span
    download: Span


class Timeline:
    """Sums up the stages of all chunks that are home.

    Attributes
    ----------
    submitted
        Chunks whose download was handed to a writer.
    chunks
        Chunks that are home.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._sums = (0.0, 0.0, 0.0, 0.0)
        self.submitted = 0
        self.chunks = 0

    def add(self, marks: Marks, writeback: float) -> None:
        """Count one chunk; its events have come.

        Parameters
        ----------
        marks
            Its events.
        writeback
            Seconds that copying it home took.
        """
        spans = (marks.upload, marks.run, marks.download)
        times = (*(self._device.elapsed(*span) for span in spans), writeback)
        with self._lock:
            self.chunks += 1
            upload, run, download, home = (a + b for a, b in zip(self._sums, times, strict=True))
            self._sums = (upload, run, download, home)

    def mean(self) -> Stages:
        """Return the stages of the average chunk; zeros before any is home."""
        with self._lock:
            upload, run, download, home = (total / max(self.chunks, 1) for total in self._sums)
        return Stages(upload, run, download, home)
