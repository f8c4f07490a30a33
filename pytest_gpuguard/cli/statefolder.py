"""What the doctor says of the folder where budgets live."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_gpuguard.cli.findings import fail, ok, warn
from pytest_gpuguard.ledger.errors import LedgerUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.cli.findings import Finding
    from pytest_gpuguard.cli.where import Where

__all__ = ["look_at_state_folder"]

_ABOUT = "state folder"


def look_at_state_folder(where: Where) -> Iterator[Finding]:
    """Look at folders, file system and locks."""
    if sys.platform != "linux":
        yield warn(
            _ABOUT,
            f"{sys.platform} has no locks on ranges: one claim at a time holds a whole pool",
            "run suites with budgets on Linux where that is too slow",
        )
        return
    from pytest_gpuguard.ledger.folder import Folder
    from pytest_gpuguard.ledger.selftest import KNOWN_GOOD, filesystem_of

    try:
        with closing(Folder.root(where.root)) as root:
            kind = filesystem_of(root.fd)
    except (OSError, LedgerUnsafe) as error:
        yield fail(_ABOUT, str(error), "choose another folder with --gpuguard-budget-dir")
        return
    if kind in KNOWN_GOOD:
        yield ok(_ABOUT, f"{where.root} on {kind}")
    else:
        yield warn(
            _ABOUT,
            f"{where.root} lies on {kind or 'a file system of unknown type'}, which we have not tried",
            f"choose a folder on {', '.join(sorted(KNOWN_GOOD))}",
        )
