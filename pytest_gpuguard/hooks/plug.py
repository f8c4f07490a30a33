"""What every plugin of ours is that is an object: one that shows pytest its hooks and nothing else."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["Plug"]


class Plug:
    """Lists its hooks alone.

    Whatever a plugin lists is looked at when it is registered, most of all whether it is a fixture. What is
    registered on demand comes and goes in less than half the time without its other names.
    """

    _hooks: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._hooks = tuple(name for name in dir(cls) if name.startswith("pytest_"))

    def __dir__(self) -> tuple[str, ...]:
        return self._hooks
