"""A record read back: from this version or an older one, whatever kinds of leak are in it."""

from __future__ import annotations

from typing import Any

import msgspec

from pytest_gpuguard.report.model import SCHEMA_VERSION, RunReport
from pytest_gpuguard.report.subjects import known_subject

__all__ = ["UnreadableError", "read_report"]


class UnreadableError(Exception):
    """A record that is broken, no record at all, or from a version that is newer than this one."""


def read_report(encoded: bytes, name: str) -> RunReport:
    """Return the record in ``encoded``.

    Parameters
    ----------
    name
        What it is called in an error.

    Raises
    ------
    UnreadableError
        Saying what is wrong and where.
    """
    try:
        plain = msgspec.json.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"{name} is no JSON: {error}"
        raise UnreadableError(message) from None
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if not isinstance(version, int):
        message = f"{name} is no record of a run: it has no schema_version"
        raise UnreadableError(message)
    if version > SCHEMA_VERSION:
        message = (
            f"{name} has schema version {version}, this is pytest-gpuguard for version {SCHEMA_VERSION}: "
            "read it with the version that wrote it, or a newer one"
        )
        raise UnreadableError(message)
    try:
        return msgspec.convert(_with_known_kinds(plain), RunReport)
    except (msgspec.ValidationError, AttributeError, KeyError, TypeError) as error:
        message = f"{name} is no record of a run: {error}"
        raise UnreadableError(message) from None


def _with_known_kinds(plain: dict[str, Any]) -> dict[str, Any]:
    for group in plain["groups"]:
        for leak in group["leaks"]:
            leak["subject"] = known_subject(leak["subject"])
    return plain
