"""Folders of ours in pytest's cache, where there is one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["folder_in_cache"]


def folder_in_cache(config: pytest.Config, name: str, *, to_read: bool = False) -> Path | None:
    """Return a folder of that name, made where it is not there.

    None where nothing can be kept in it; given ``to_read``, only where it is not there.
    """
    cache = getattr(config, "cache", None)  # the cache provider can be switched off
    if cache is not None:
        with contextlib.suppress(OSError):  # a read-only checkout: pytest itself only warns of it
            folder = Path(cache.mkdir(name))
            return folder if to_read or os.access(folder, os.W_OK) else None
    return None
