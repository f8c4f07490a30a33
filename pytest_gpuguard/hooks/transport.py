"""The way of groups and needs from workers to the controller: a file each, in the folder of the run.

Node ids say nothing of groups, and are never touched: a suffix there breaks ``--last-failed`` and the names
in JUnit files, and xdist's own no longer arrives on pytest 9.2. The file is written before xdist sends the
list of tests, hence is there when the list arrives. Other hosts cannot write it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.plan.suite import Offer

__all__ = ["Publisher", "collect", "is_here", "send_to"]

_FOLDER = "gpuguard_offers"


def is_here(spec: Any) -> bool:
    """Return whether a worker of this kind runs on this host."""
    return bool(spec.popen) and not spec.via


def send_to(node: Any, folder: Path) -> None:
    """Tell a worker to publish what the scheduler has to know in ``folder``."""
    folder.mkdir(exist_ok=True)
    node.workerinput[_FOLDER] = str(folder)


def collect(folder: Path, worker: str) -> Offer | None:
    """Return what a worker has published; None when it could not."""
    import msgspec

    from pytest_gpuguard.plan.suite import Offer

    try:
        return msgspec.json.decode((folder / f"{worker}.json").read_bytes(), type=Offer)
    except (OSError, msgspec.DecodeError):
        return None


class Publisher:
    """The role of a worker that is asked for groups and needs.

    Parameters
    ----------
    config
        Of the worker.
    folder
        Where it writes.
    leasing
        Knows what tests need.
    """

    def __init__(self, config: pytest.Config, folder: Path, leasing: Leasing) -> None:
        self._path, self._leasing = folder / f"{config.workerinput['workerid']}.json", leasing  # type: ignore[attr-defined]
        # Else xdist would write the names of groups into node ids, before pytest 9.2.
        config.option.loadgroup = False

    @classmethod
    def asked(cls, config: pytest.Config, leasing: Leasing) -> Publisher | None:
        """Return the role, if the controller of this worker wants it."""
        from pathlib import Path

        folder = Path(getattr(config, "workerinput", {}).get(_FOLDER, ""))
        return cls(config, folder, leasing) if folder.parts and folder.is_dir() else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        import msgspec

        from pytest_gpuguard.hooks.offers import offer_of

        offer = offer_of(session.items, self._leasing)
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(offer))
        temporary.replace(self._path)
