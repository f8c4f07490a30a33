"""The switches in force, resolved once: command line before environment before ini before default."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_gpuguard.hooks.options import OPTIONS
from pytest_gpuguard.units import parse_amounts, parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_gpuguard.hooks.options import Option

__all__ = ["KINDS", "Settings", "is_active", "only_shows", "resolve"]

#: The kinds of leak that can be asked for.
KINDS = frozenset({"thread", "process", "pinned", "device", "stream", "event", "shm", "fd", "memory"})
#: What takes a list, and what a number, where native TOML has these.
_LISTS, _NUMBERS = {"amounts", "devices", "kinds"}, {"amount", "devices", "duration"}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class Settings(NamedTuple):
    """Every switch, read; times in seconds, amounts in bytes; None where nothing is said.

    Attributes
    ----------
    shown
        For each switch by name, what a user would write and where it came from.
    """

    leaks: str
    leak_kinds: frozenset[str]
    referrers: bool
    settle: float
    reap: bool
    thread_death: str
    stall: float
    stall_end: float
    budget: Mapping[str, int] | None
    budget_dir: Path | None
    pool: str
    wait: float
    oversize: str | None
    context: int
    scheduler: str
    group_by: str
    profile: Path | None
    baseline: Path | None
    devices: str
    require: str
    report: Path | None
    shown: dict[str, tuple[str, str]] = {}  # noqa: RUF012 - it is never written to


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
        asked = _truth(environ["GPUGUARD"], "GPUGUARD (environment)")
    return bool(_from_ini(config, "gpuguard") if asked is None else asked)


def only_shows(config: pytest.Config) -> bool:
    """Return whether this run tells what it would do, and runs neither tests nor fixtures."""
    return any(config.getoption(name, False) for name in ("collectonly", "setupplan"))


def _from_ini(config: pytest.Config, name: str, kind: str = "flag") -> Any:
    try:
        native = config.getini(name)
        if not isinstance(native, list):
            return native
        # So [tool.pytest.ini_options] has it, whatever is asked for.
        message = f"GPG501: {name} (ini) is {native}, expected a string"
    # Native TOML has types, and pytest reads flags by itself.
    except (TypeError, ValueError, pytest.UsageError) as error:
        native, message = _native(config, name), f"GPG501: {name} (ini): {error}"
    text = _as_text(native, kind)
    if text is None:
        raise pytest.UsageError(message)
    return text


def _native(config: pytest.Config, name: str) -> object:
    """Return what stands in pytest's own TOML, which pytest refuses where it wants a string."""
    import tomllib

    path = config.inipath
    if path is None or path.suffix != ".toml":
        return None
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return tables.get("tool", tables).get("pytest", {}).get(name)


def _as_text(value: object, kind: str) -> str | None:
    """Return as a user would write it what TOML has a type for; None where that makes no sense."""
    entries = value if isinstance(value, list) and kind in _LISTS else [value]
    takes = (int, float, str) if isinstance(value, list) else (int, float) if kind in _NUMBERS else ()
    if not entries or any(isinstance(entry, bool) or not isinstance(entry, takes) for entry in entries):
        return None
    return ",".join(map(str, entries))


def _given(option: Option, config: pytest.Config, environ: Mapping[str, str]) -> tuple[Any, str]:
    value = config.getoption(option.dest)
    if value is not None:
        return value, "command line"
    if option.variable in environ:
        return environ[option.variable], "environment"
    value = _from_ini(config, option.dest, option.kind)
    if value is not None:
        return value, "ini"
    if option.name == "report" and environ.get("CI"):
        return ".gpuguard", "CI"
    return option.default, "default"


def _read(option: Option, value: Any, source: str, base: Path) -> Any:
    spelling = {"command line": option.flag, "environment": option.variable}.get(source, option.dest)
    where = f"{spelling} ({source})"
    if value is None:
        return None
    if option.kind == "flag":
        return value if isinstance(value, bool) else _truth(str(value), where)
    if option.kind == "choice":
        if value not in option.choices:
            message = f"GPG501: {where} is {value!r}, expected one of {', '.join(option.choices)}"
            raise pytest.UsageError(message)
        return value
    if option.kind == "file":
        if value and (base / value).is_dir():
            message = f"GPG501: {where} is {value!r}, which is a folder"
            raise pytest.UsageError(message)
        return base / value if value else None
    if option.kind == "path":
        if value and (base / value).exists() and not (base / value).is_dir():
            message = f"GPG501: {where} is {value!r}, which is there and no folder"
            raise pytest.UsageError(message)
        return base / value if value else None
    try:
        return _READERS[option.kind](value)
    except ValueError as error:
        message = f"GPG501: {where}: {error}"
        raise pytest.UsageError(message) from None


def _limits(text: str) -> dict[str, int]:
    from pytest_gpuguard.ledger.layout import check_amount, check_resource

    return {check_resource(name): check_amount(amount) for name, amount in parse_amounts(text).items()}


def _pool(name: str) -> str:
    from pytest_gpuguard.ledger.places import check_pool

    return check_pool(name)


def _devices(text: str) -> str:
    if not re.fullmatch(
        r"auto|isolate|none|\s*(\d+|(GPU|MIG)-[\w/-]+)(\s*,\s*(\d+|(GPU|MIG)-[\w/-]+))*\s*", text
    ):
        message = f"{text!r} is none of auto, isolate, none, and no list such as '1,0' or 'GPU-5a2b,GPU-77c0'"
        raise ValueError(message)
    return text


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(word.strip() for word in text.split(",") if word.strip())
    if not kinds or not kinds <= KINDS | {"all"}:
        message = f"{text!r} is no list of kinds; there are {', '.join(sorted(KINDS))} and all"
        raise ValueError(message)
    return KINDS if "all" in kinds else kinds


_READERS: dict[str, Callable[[Any], Any]] = {
    "amount": parse_bytes,
    "amounts": _limits,
    "devices": _devices,
    "duration": parse_seconds,
    "kinds": _kinds,
    "name": _pool,
}


def resolve(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the switches in force.

    Raises
    ------
    pytest.UsageError
        GPG501, naming the switch, its source, its value and what it takes.
    """
    values: dict[str, Any] = {}
    shown: dict[str, tuple[str, str]] = {}
    for option in OPTIONS:
        value, source = _given(option, config, environ)
        # Fixed now, since tests may change the working directory.
        base = config.rootpath if source in {"ini", "CI"} else config.invocation_params.dir
        values[option.name.replace("-", "_")] = _read(option, value, source, base)
        text = str(value).lower() if option.kind == "flag" else str(value)
        shown[option.name] = ("none" if value is None else text, source)
    return Settings(**values, shown=shown)
