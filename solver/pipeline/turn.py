"""Who may solve: one thread at a time, and none once the solver is being closed."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from solver.errors import SolverClosedError, SolverError, SolverTimeoutError
from solver.pipeline.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from solver.devices.clock import Clock

__all__ = ["Turn"]


class Turn:
    """The right to solve.

    Parameters
    ----------
    clock
        By what those wait who close.

    Attributes
    ----------
    closing
        Whether :meth:`end` was called.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = clock.condition()
        self._solving: int | None = None
        self.closing = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the right for a block.

        Raises
        ------
        SolverClosedError
            After :meth:`end`.
        SolverError
            When another thread has it.
        """
        with self._changed:
            if self.closing:
                message = "the solver is closed; open another"
                raise SolverClosedError(message)
            if self._solving is not None:
                message = "another thread solves with this solver; open one for each thread"
                raise SolverError(message)
            self._solving = threading.get_ident()
        try:
            yield
        finally:
            with self._changed:
                self._solving = None
                self._changed.notify_all()

    def check(self) -> None:
        """Raise a :class:`SolverClosedError` when the solver was closed meanwhile."""
        if self.closing:
            message = "the solver was closed while it solved; the results are incomplete"
            raise SolverClosedError(message)

    def end(self, timeout: float) -> None:
        """Let nobody solve any more, and wait for who does. May be called again, also after it raised.

        Raises
        ------
        SolverTimeoutError
            When the solve in another thread did not end in time.
        SolverError
            When the solve itself calls it.
        """
        patience = Patience(timeout, self._clock)
        with self._changed:
            self.closing = True
            if self._solving == threading.get_ident():
                message = "close() was called inside of solve(), which now ends; call it again afterwards"
                raise SolverError(message)
            while self._solving is not None:
                left = patience.left()
                if left <= 0:
                    message = f"solve() in another thread did not end within {timeout} s; call close() again"
                    raise SolverTimeoutError(message)
                self._changed.wait(left)
