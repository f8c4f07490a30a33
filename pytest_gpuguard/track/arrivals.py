"""Being told when the suite has imported a library, without ever importing it first.

A finder at the head of ``sys.meta_path`` looks for the wanted names only; every other import costs one look
into a set. The true finders still find: the loader that they return is told to call us once it is through.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["Arrivals"]


class Arrivals:
    """Calls back once for each wanted module, at once for those that are loaded already.

    Parameters
    ----------
    wanted
        What to do by name of the module; it gets the module.
    """

    def __init__(self, wanted: Mapping[str, Callable[[ModuleType], object]]) -> None:
        self._wanted = dict(wanted)
        self._seeking: set[str] = set()

    def install(self) -> Callable[[], None]:
        """Begin to watch imports; return how to undo it."""
        for name in list(self._wanted):
            module = sys.modules.get(name)
            # A module that is being imported right now is told when it is through.
            if module is not None and not _initialising(module):
                self._wanted.pop(name)(module)
        sys.meta_path.insert(0, self)

        def uninstall() -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)

        return uninstall

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a wanted module with its loader wrapped, None for all others."""
        del path, target
        if name not in self._wanted or name in self._seeking:
            return None
        self._seeking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._seeking.discard(name)
        loader: Any = getattr(spec, "loader", None)
        if loader is None or not hasattr(loader, "exec_module"):
            return None
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # The loader stays what it is for whoever asks it later.
            vars(loader).pop("exec_module", None)
            execute(module)
            then = self._wanted.pop(name, None)
            if then is not None:
                then(module)

        try:
            loader.exec_module = exec_module
        except AttributeError:  # a loader without a dictionary of its own: the import is not disturbed
            return None
        return spec


def _initialising(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
