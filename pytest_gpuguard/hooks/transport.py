"""The way of groups and needs from workers to the controller: a file each, in the folder of the run.

Node ids say nothing of groups, and are never touched: a suffix there breaks ``--last-failed`` and the names
in JUnit files, and xdist's own no longer arrives on pytest 9.2. The file is written before xdist sends the
list of tests, hence is there when the list arrives. Other hosts cannot write it.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.affinity import SessionParams
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.runfolder import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_gpuguard.hooks.leasing import Leasing
    from pytest_gpuguard.plan.suite import Offer

__all__ = ["Publisher", "collect", "is_here", "send_to"]

_FOLDER, _SHARED = "gpuguard_offers", "gpuguard_session_fixtures"


def is_here(spec: Any) -> bool:
    """Return whether a worker of this kind runs on this host."""
    return bool(spec.popen) and not spec.via


def send_to(node: Any, folder: Path, shared: Sequence[str] | None) -> None:
    """Tell a worker to publish what the scheduler has to know.

    Parameters
    ----------
    node
        Of xdist.
    folder
        Where to.
    shared
        Names of session fixtures that are known to have parameters; None when nobody asks for them.
    """
    # Another run may have cleared the cache, with the folder of this one: then nothing is published.
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    node.workerinput[_FOLDER] = str(folder)
    node.workerinput[_SHARED] = shared


def collect(folder: Path, worker: str) -> Offer | None:
    """Return what a worker has published; None when it could not."""
    import msgspec

    from pytest_gpuguard.plan.suite import Offer

    try:
        return msgspec.json.decode((folder / f"{worker}.json").read_bytes(), type=Offer)
    except (OSError, msgspec.DecodeError):
        return None


class Publisher(Plug):
    """The role of a worker that is asked for groups and needs.

    Parameters
    ----------
    config
        Of the worker.
    folder
        Where it writes.
    leasing, params
        Know what tests need, and what they share.
    """

    def __init__(
        self, config: pytest.Config, folder: Path, leasing: Leasing, params: SessionParams | None
    ) -> None:
        self._params = params
        self._path, self._leasing = folder / f"{config.workerinput['workerid']}.json", leasing  # type: ignore[attr-defined]
        # Else xdist would write the names of groups into node ids, before pytest 9.2.
        config.option.loadgroup = False

    @classmethod
    def register(cls, config: pytest.Config, leasing: Leasing) -> None:
        """Play the role, if the controller of this worker wants it."""
        from pathlib import Path

        given = getattr(config, "workerinput", {})
        folder, shared = Path(given.get(_FOLDER, "")), given.get(_SHARED)
        if not folder.parts or not folder.is_dir():
            return
        params = SessionParams(shared) if shared is not None else None
        if params is not None:
            config.pluginmanager.register(params, "gpuguard-session-params")
        config.pluginmanager.register(cls(config, folder, leasing, params), "gpuguard-publisher")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        import msgspec

        from pytest_gpuguard.hooks.offers import offer_of

        offer = offer_of(session.items, self._leasing, self._params)
        with contextlib.suppress(OSError):
            write_whole(self._path, msgspec.json.encode(offer))
        if offer.needs:
            # A tenth of a second, by now of nobody's test and while other workers collect.
            importlib.import_module("pytest_gpuguard.budget.claimant")
