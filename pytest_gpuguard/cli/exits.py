"""The exit codes of ``gpuguard``."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """What a status says."""

    FINE = 0
    """All is well."""
    FINDINGS = 1
    """Something was found that wants looking at."""
    USAGE = 2
    """The command line was wrong."""
    NOTHING = 3
    """There is nothing to look at."""
    UNREADABLE = 4
    """The data is broken, or newer than this version; or a file cannot be read or written."""
    BUSY = 5
    """A lock was not had in time."""
    BUG = 70
    """Our own fault."""
