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


@dataclass(slots=True, weakref_slot=True)
class _Seat:
    claims: Claims
    vacant: bool = False


class _Sitter:
    """Dies with the thread in whose local storage it lies.

    It knows its seat by number only: thread-local storage is a blind spot of the garbage collector, and a
    reference from there would keep the budget, and what it holds, for ever.
    """

    def __init__(self, number: int, seat: _Seat) -> None:
        self.number = number
        weakref.finalize(self, _vacate, weakref.ref(seat)).atexit = False


def _vacate(seat: weakref.ref[_Seat]) -> None:
    left = seat()
    if left is not None:
        left.vacant = True


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
        sitter: _Sitter | None = getattr(self._local, "sitter", None)
        return self._seats[sitter.number].claims if sitter else self._sit_down()

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
        number = self._take_vacant()
        if number is None:
            number = self._add()
        seat = self._seats[number]
        self._local.sitter = _Sitter(number, seat)
        return seat.claims

    def _take_vacant(self) -> int | None:
        with self._lock:
            for number, seat in enumerate(self._seats):
                # Leases may outlive the thread that took them; then the seat is not free yet.
                if seat.vacant and seat.claims.idle():
                    seat.vacant = False
                    return number
        return None

    def _add(self) -> int:
        seat = _Seat(self._open_claims())
        with self._lock:
            self._seats.append(seat)
            return len(self._seats) - 1


def _in_child() -> None:
    for seats in list(_everywhere):
        seats.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
