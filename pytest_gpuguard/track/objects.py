"""Objects by their class. To find the live ones asks the collector: slow, so only for what is suspected."""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

__all__ = ["instances", "is_a", "namespace_of", "of_class"]

T = TypeVar("T")


def is_a(thing: object, cls: type[T]) -> TypeGuard[T]:
    """Return whether ``thing`` is of a class, by its type alone: ``isinstance`` asks it as well.

    What stands for something else, as lazy objects do, would make that.
    """
    return issubclass(type(thing), cls)


def namespace_of(own: Any) -> Any:
    """Return the names of a module or a class; a module that loads itself when it is asked is not asked."""
    return ModuleType.__getattribute__(own, "__dict__") if is_a(own, ModuleType) else vars(own)


def instances(*classes: str) -> list[object]:
    """Return the live instances of classes given as ``module:name``, of modules that are loaded."""
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
