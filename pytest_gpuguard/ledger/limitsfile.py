"""``limits.json``: limits that everybody in a pool obeys, set from outside while runs go on.

It is read, never held: everybody reads the same file at each decision (one ``stat`` when nothing changed),
and the writer replaces it whole. A file that cannot be read changes nothing and is said once.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from pytest_gpuguard.ledger.errors import LedgerUnsafe
from pytest_gpuguard.ledger.layout import MAX_AMOUNT, check_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["LIMITS_FILE", "LimitsFile", "replace_limits"]

LIMITS_FILE = "limits.json"
_LARGEST = 64 * 1024


class LimitsFile:
    """The limits file of one folder, read again only when it was replaced.

    Parameters
    ----------
    say
        Told once, in one line, that a file is ignored and why.
    """

    def __init__(self, folder: Folder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._seen: tuple[int, int, int] | None = None
        self._limits: dict[str, int] = {}

    def read(self) -> Mapping[str, int]:
        """Return the limits in force, empty when there are none."""
        try:
            info = os.stat(LIMITS_FILE, dir_fd=self._folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            self._seen, self._limits = None, {}
            return self._limits
        seen = (info.st_ino, info.st_mtime_ns, info.st_size)
        if seen != self._seen:
            self._seen, self._limits = seen, self._load()
        return self._limits

    def _load(self) -> dict[str, int]:
        try:
            fd = self._folder.open_file(LIMITS_FILE)
            try:
                return _parse(os.pread(fd, _LARGEST, 0))
            finally:
                os.close(fd)
        except (OSError, ValueError, LedgerUnsafe) as error:
            self._say(f"{self._folder.path / LIMITS_FILE} is ignored: {error}")
            return {}


def _parse(data: bytes) -> dict[str, int]:
    try:
        limits = msgspec.json.decode(data, type=dict[str, int])
    except msgspec.DecodeError as error:
        message = f"not an object of amounts ({error})"
        raise ValueError(message) from error
    return _checked(limits)


def _checked(limits: Mapping[str, int]) -> dict[str, int]:
    for name, limit in limits.items():
        if not 0 <= limit < MAX_AMOUNT:
            message = f"the limit of {name} must be 0 to {MAX_AMOUNT - 1}, got {limit}"
            raise ValueError(message)
    return {check_resource(name): limit for name, limit in limits.items()}


def replace_limits(
    folder: Folder, limits: Mapping[str, int], seam: Callable[[str], None] = lambda _: None
) -> None:
    """Put ``limits`` in force for everybody in the pool; none at all removes the file.

    Raises
    ------
    ValueError
        When a name or an amount cannot be.
    """
    data = msgspec.json.format(msgspec.json.encode(_checked(limits)))
    if not limits:
        with suppress(FileNotFoundError):
            os.unlink(LIMITS_FILE, dir_fd=folder.fd)
        return
    # Whole or not at all: a new file takes the old one's name in one step.
    temporary = f"{LIMITS_FILE}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder.fd)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data + b"\n")
        seam("limits: before rename")
        os.replace(temporary, LIMITS_FILE, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder.fd)
        raise
