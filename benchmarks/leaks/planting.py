"""How a test of the seeded suite says what is planted in it: one place for the truth, beside the case.

``@planted("thread")`` says that the test itself leaves a thread; ``@planted("thread", owner="name")`` that
the fixture of that name does. Several tests that use one leaky fixture are one case.
A test without a mark is a bystander: whoever blames it blames the wrong one.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OWN_FAILURE", "Stoppable", "clean", "end_what_was_left", "keep", "planted"]

T = TypeVar("T")

#: Said by tests that fail by themselves: such a failure blames nobody.
OWN_FAILURE = "planted failure"

_LEFT: list[tuple[object, Callable[[], object]]] = []


def planted(kind: str, *, owner: str | None = None, also: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Mark a test that leaks; ``also`` names kinds that come with the planted one and may be reported too."""
    return pytest.mark.planted(kind=kind, owner=owner, also=also)


def clean(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test that only looks as if it leaked."""
    return pytest.mark.clean(function)  # type: ignore[no-any-return]


def keep(thing: T, end: Callable[[], object] = lambda: None) -> T:
    """Keep ``thing`` alive to the end of the run, as a leak is; ``end`` is called then."""
    _LEFT.append((thing, end))
    return thing


def end_what_was_left() -> None:
    """End every planted leak: all verdicts are given, and the process must be able to go."""
    while _LEFT:
        with contextlib.suppress(Exception):
            _LEFT.pop()[1]()


class Stoppable:
    """A background thread with an owner, as watchers and servers have it."""

    def __init__(self, *, daemon: bool = True) -> None:
        self._over = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=daemon)

    def start(self) -> Stoppable:
        """Start the thread."""
        self.thread.start()
        return self

    def _loop(self) -> None:
        self._over.wait()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self.thread.join()


def left() -> Stoppable:
    """Return a started watcher that nobody stops before the run is over."""
    watcher = Stoppable().start()
    return keep(watcher, watcher.close)
