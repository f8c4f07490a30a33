"""The live objects of a class, found by the collector: slow, so only for what is suspected."""

from __future__ import annotations

import gc
import sys

__all__ = ["instances", "of_class"]


def instances(*classes: str) -> list[object]:
    """Return the live instances of classes given as ``module:name``, of modules that are loaded.

    By type alone: an object's own idea of its class is never asked.
    """
    wanted = tuple(
        cls
        for module, _, name in (path.partition(":") for path in classes)
        if isinstance(cls := getattr(sys.modules.get(module), name, None), type)
    )
    if not wanted:
        return []
    return [thing for thing in gc.get_objects() if issubclass(type(thing), wanted)]


def of_class(cls: type) -> list[object]:
    """Return the live instances of ``cls`` alone."""
    return [thing for thing in gc.get_objects() if type(thing) is cls]
