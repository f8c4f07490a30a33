"""Amounts and durations as people write them: ``"512 MiB"``, ``"2s"``, ``"30min"``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "each_rounded",
    "format_bytes",
    "format_seconds",
    "parse_amounts",
    "parse_bytes",
    "parse_seconds",
    "rounded",
]

_BYTES = {"": 1, "b": 1} | {
    prefix + suffix: factor**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, factor in (("ib", 1024), ("b", 1000))
}
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def _split(text: str, units: dict[str, float] | dict[str, int], example: str) -> tuple[str, float]:
    match = _AMOUNT.fullmatch(text)
    if match is None or match[2].lower() not in units:
        known = ", ".join(sorted(unit for unit in units if unit))
        message = f"{text!r} is not an amount such as {example!r} (units: {known})"
        raise ValueError(message)
    return match[1], units[match[2].lower()]


def parse_bytes(amount: str | int) -> int:
    """Return ``amount`` in bytes.

    Parameters
    ----------
    amount
        A whole number of bytes, or text such as ``"512 MiB"`` (powers of 1024) or ``"5 GB"`` (of 1000).

    Raises
    ------
    ValueError
        When the text is no amount, or the amount is negative. Percentages are none: a part of what each host
        has would be another amount on each.
    """
    if isinstance(amount, int):
        if amount < 0:
            message = f"an amount of bytes cannot be negative, got {amount}"
            raise ValueError(message)
        return amount
    if amount.rstrip().endswith("%"):
        message = f"{amount!r} is a percentage, which is another amount on each host: write it as '512 MiB'"
        raise ValueError(message)
    number, factor = _split(amount, _BYTES, "512 MiB")
    return int(float(number) * factor) if "." in number else int(number) * int(factor)


def parse_amounts(text: str) -> dict[str, int]:
    """Return amounts by name from text such as ``"pinned=2GiB,pinned.regions=32000"``.

    Raises
    ------
    ValueError
        When an entry is not ``NAME=AMOUNT``, or a name comes twice.
    """
    amounts: dict[str, int] = {}
    for entry in text.split(","):
        name, equals, amount = (part.strip() for part in entry.partition("="))
        if not (name and equals):
            message = f"{entry.strip()!r} is not NAME=AMOUNT such as 'pinned=2GiB'"
            raise ValueError(message)
        if name in amounts:
            message = f"{name!r} is given twice"
            raise ValueError(message)
        amounts[name] = parse_bytes(amount)
    return amounts


def parse_seconds(duration: str | float) -> float:
    """Return ``duration`` in seconds: a number, or text such as ``"250ms"``, ``"2s"``, ``"30min"``.

    Raises
    ------
    ValueError
        When the text is no duration, or the duration is negative.
    """
    if isinstance(duration, str):
        number, factor = _split(duration, _SECONDS, "2s")
        return float(number) * factor
    if duration < 0:
        message = f"a duration cannot be negative, got {duration}"
        raise ValueError(message)
    return float(duration)


def format_bytes(nbytes: int) -> str:
    """Return ``nbytes`` for people: ``"0 B"``, ``"512.0 MiB"``, ``"1.50 GiB"``."""
    if nbytes < 1024:
        return f"{nbytes} B"
    value, unit = float(nbytes), "B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the last unit tried is the one used
        value /= 1024
        if value < 1023.95:
            break
    return f"{value:.2f} {unit}" if unit in {"GiB", "TiB"} else f"{value:.1f} {unit}"


def format_seconds(seconds: float) -> str:
    """Return a duration for people: ``"0.25 s"``, ``"12.3 s"``, ``"5 min 3 s"``, ``"8 d 2 h"``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def rounded(seconds: float) -> float:
    """Return a time to a tenth of a millisecond, as records have it; ``round`` takes twice as long."""
    return int(seconds * 1e4 + 0.5) / 1e4


def each_rounded(times: Iterable[float]) -> list[float]:
    """Return what :func:`rounded` returns, of many: a call for each would take as long again."""
    return [int(seconds * 1e4 + 0.5) / 1e4 for seconds in times]
