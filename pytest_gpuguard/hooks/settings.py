"""The switches in force, resolved once: command line before environment before ini before default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.options import OPTIONS
from pytest_gpuguard.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.hooks.options import Option

__all__ = ["Settings", "is_active", "resolve"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every switch, read; times in seconds.

    Attributes
    ----------
    shown
        For each switch by name, what a user would write and where it came from.
    """

    leaks: str
    settle: float
    reap: bool
    thread_death: str
    stall: float
    stall_end: float
    report: Path | None
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)


def _truth(text: str, where: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE | _FALSE:
        message = f"GPG501: {where} is {text!r}, expected one of 1, 0, true, false, yes, no, on, off"
        raise pytest.UsageError(message)
    return lowered in _TRUE


def is_active(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this run is watched."""
    asked = config.getoption("gpuguard")
    if asked is None and "GPUGUARD" in environ:
        asked = _truth(environ["GPUGUARD"], "GPUGUARD in the environment")
    return bool(config.getini("gpuguard") if asked is None else asked)


def _given(option: Option, config: pytest.Config, environ: Mapping[str, str]) -> tuple[Any, str]:
    value = config.getoption(option.dest)
    if value is not None:
        return value, "command line"
    if option.variable in environ:
        return environ[option.variable], "environment"
    value = config.getini(option.dest)
    if value is not None:
        return value, "ini"
    if option.name == "report" and environ.get("CI"):
        return str(config.rootpath / ".gpuguard"), "CI"
    return option.default, "default"


def _read(option: Option, value: Any, source: str) -> Any:
    where = f"{option.flag if source == 'command line' else option.dest} ({source})"
    if option.kind == "flag":
        return value if isinstance(value, bool) else _truth(str(value), where)
    if option.kind == "choice":
        if value not in option.choices:
            message = f"GPG501: {where} is {value!r}, expected one of {', '.join(option.choices)}"
            raise pytest.UsageError(message)
        return value
    if option.kind == "path":
        return Path(value) if value else None
    try:
        return parse_seconds(value)
    except ValueError as error:
        message = f"GPG501: {where}: {error}"
        raise pytest.UsageError(message) from None


def resolve(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the switches in force.

    Raises
    ------
    pytest.UsageError
        GPG501, naming the switch, its source, its value and what it takes.
    """
    values: dict[str, Any] = {}
    shown: dict[str, tuple[str, str]] = {}
    read: Callable[[Option, Any, str], Any] = _read
    for option in OPTIONS:
        value, source = _given(option, config, environ)
        values[option.name.replace("-", "_")] = read(option, value, source)
        shown[option.name] = (str(value if value is not None else "none").lower(), source)
    return Settings(**values, shown=shown)
