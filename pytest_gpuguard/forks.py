"""What a forked child must not go on with: it inherits what is open and mapped, which tells of its parent."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_each_child"]


def in_each_child(method: Callable[[], object]) -> None:
    """Call a bound method in each child that is forked as long as its object lives."""
    if not hasattr(os, "register_at_fork"):
        return
    # What is registered can never be taken back, so it keeps nothing alive.
    weak = weakref.WeakMethod(method)

    def after_fork() -> None:
        if (alive := weak()) is not None:
            alive()

    os.register_at_fork(after_in_child=after_fork)
