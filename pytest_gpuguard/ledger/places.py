"""What pools and their folders are called; imports nothing that only some platforms have."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

__all__ = ["boot_id", "check_pool", "default_root", "pools_path"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POOL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def default_root() -> Path:
    """Return ``/tmp``: the temporary directory of the environment may differ from job to job."""
    # What lies below it is checked by descriptor.
    return Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())  # noqa: S108


def boot_id(path: Path = _BOOT_ID) -> str:
    """Return eight hex digits that differ from one running kernel to another."""
    try:
        digits = path.read_text(encoding="ascii").replace("-", "").strip()
    except OSError:
        digits = ""
    return digits[:8].ljust(8, "0")


def check_pool(pool: str) -> str:
    """Return ``pool``.

    Raises
    ------
    ValueError
        When it cannot be the name of a folder.
    """
    if _POOL.fullmatch(pool) is None:
        message = f"a pool is named by 1 to 64 of A-Z a-z 0-9 . _ - such as 'host', got {pool!r}"
        raise ValueError(message)
    return pool


def pools_path(root: Path, boot: str | None = None) -> Path:
    """Return the folder below which the pools of this user and boot lie."""
    return root / f"gpuguard-{os.geteuid()}" / (boot or boot_id())
