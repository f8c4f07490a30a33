"""What is done around a fork: a child inherits what is open and mapped, which tells of its parent."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["around_each_fork", "in_each_child"]


def in_each_child(method: Callable[[], object]) -> None:
    """Call a bound method in each child that is forked as long as its object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_while_it_lives(method))


def around_each_fork(before: Callable[[], object], after: Callable[[], object]) -> None:
    """Call bound methods before each fork, and after it in the parent, as long as their object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_while_it_lives(before), after_in_parent=_while_it_lives(after))


def _while_it_lives(method: Callable[[], object]) -> Callable[[], None]:
    # What is registered can never be taken back, so it keeps nothing alive.
    weak = weakref.WeakMethod(method)

    def call() -> None:
        if (alive := weak()) is not None:
            alive()

    return call
