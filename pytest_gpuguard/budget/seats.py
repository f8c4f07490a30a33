"""Which thread sits where, and what a fork does to that."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.budget.claims import Claims

__all__ = ["Seats"]

_everywhere: weakref.WeakSet[Seats] = weakref.WeakSet()


@dataclass(slots=True)
class _Seat:
    claims: Claims
    vacant: bool = False

    def vacate(self) -> None:
        self.vacant = True


class _Thread:
    """Dies with the thread in whose local storage it lies."""


class Seats:
    """Claims of each thread of this process: two threads that wait for each other's bytes are two claimants.

    Parameters
    ----------
    open_claims
        Makes the claims of one more thread.
    """

    def __init__(self, open_claims: Callable[[], Claims]) -> None:
        self._open_claims = open_claims
        self._reset()
        _everywhere.add(self)

    def _reset(self) -> None:
        self._seats: list[_Seat] = []
        self._lock = threading.Lock()
        self._local = threading.local()

    def mine(self) -> Claims:
        """Return the claims of the calling thread, made when it has none."""
        claims: Claims | None = getattr(self._local, "claims", None)
        return claims or self._sit_down()

    def all(self) -> list[Claims]:
        """Return the claims of all threads so far."""
        with self._lock:
            return [seat.claims for seat in self._seats]

    def close(self) -> None:
        """Give everything back, of all threads."""
        claims = self.all()
        self._reset()
        for each in claims:
            each.leave()

    def forget(self) -> None:
        """Start without seats in a forked child: all of them are the parent's."""
        seats = self._seats
        self._reset()
        for seat in seats:
            seat.claims.forget()

    def _sit_down(self) -> Claims:
        seat = self._take_vacant() or self._add()
        self._local.claims = seat.claims
        self._local.thread = thread = _Thread()
        weakref.finalize(thread, seat.vacate).atexit = False
        return seat.claims

    def _take_vacant(self) -> _Seat | None:
        with self._lock:
            for seat in self._seats:
                # Leases may outlive the thread that took them; then the seat is not free yet.
                if seat.vacant and seat.claims.idle():
                    seat.vacant = False
                    return seat
        return None

    def _add(self) -> _Seat:
        seat = _Seat(self._open_claims())
        with self._lock:
            self._seats.append(seat)
        return seat


def _in_child() -> None:
    for seats in list(_everywhere):
        seats.forget()


os.register_at_fork(after_in_child=_in_child)
