"""Kinds of values on the command line, read as everywhere else in the project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pytest_gpuguard.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DURATION"]


class _Read(click.ParamType):  # type: ignore[type-arg]  # no generic in click 8.1
    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: Seconds, from text such as ``"2s"`` or ``"30min"``.
DURATION = _Read("duration", parse_seconds)
