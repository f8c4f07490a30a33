"""What can go wrong while a batch is solved, each with the state of the pipeline where there is one."""

from __future__ import annotations

import traceback

__all__ = [
    "DeviceError",
    "SolverClosedError",
    "SolverError",
    "SolverTimeoutError",
    "WatcherDiedError",
    "WritebackError",
    "without_frames",
]


def without_frames(error: BaseException) -> BaseException:
    """Let an error that is to be kept say where it happened in text, and hold no frames.

    A frame holds all its variables and, through its caller, those of every function of its thread: buffers,
    queues, and what would hold the error itself. Only a run of the collector could free them then.
    """
    link: BaseException | None = error
    while link is not None:
        if link.__traceback__ is not None:
            link.add_note("".join(traceback.format_tb(link.__traceback__)).rstrip())
            link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


class SolverError(Exception):
    """Base of all errors of the solver that are not wrong arguments.

    Parameters
    ----------
    message
        What happened with numbers, who is involved, what to do.
    state
        Dump of chunks, buffers, events and threads when it happened; empty when none was taken.
    """

    def __init__(self, message: str, state: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.state = state

    def __str__(self) -> str:
        return f"{self.message}\n{self.state}" if self.state else self.message


class SolverTimeoutError(SolverError, TimeoutError):
    """A wait went on for its whole deadline without any progress."""


class WatcherDiedError(SolverError):
    """The writeback thread ended with work left, which nobody else would ever finish."""


class WritebackError(SolverError):
    """One task of the writeback thread failed; its own error is the cause of this one."""


class DeviceError(SolverError):
    """An operation on the device failed; as on CUDA every later one on that device fails too."""


class SolverClosedError(SolverError):
    """Something was asked of a solver, or a part of it, after its ``close()``."""
