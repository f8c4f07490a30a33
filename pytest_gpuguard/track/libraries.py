"""What a library keeps for good under a name of its own: what hangs on that is known, and nobody's leak."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.track.probe import Suspect

__all__ = ["kept_fd", "kept_for_good"]

#: Executors that go on from one use to the next, by ``module:name``.
_EXECUTORS = dict.fromkeys(
    ("loky.reusable_executor:_executor", "joblib.externals.loky.reusable_executor:_executor"),
    "loky (joblib) keeps one reusable executor",
)
#: Trackers that hold the writing end of a pipe, by ``module:name``.
_TRACKERS = {
    "multiprocessing.resource_tracker:_resource_tracker": "multiprocessing keeps one resource tracker",
    "loky.backend.resource_tracker:_resource_tracker": "loky (joblib) keeps one resource tracker",
    "joblib.externals.loky.backend.resource_tracker:_resource_tracker": "loky (joblib) keeps one "
    "resource tracker",
}


def _loaded(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(sys.modules.get(module), name, None)


def kept_for_good(suspect: Suspect) -> str | None:
    """Return why a library keeps a thread, child or file for good, or None when nobody is known to."""
    for path, why in _EXECUTORS.items():
        executor = _loaded(path)
        # One that was shut down is no longer kept: what is left of it should have gone.
        if executor is None or getattr(getattr(executor, "_flags", None), "shutdown", False):
            continue
        parts = {id(part) for part in _parts(executor)}
        if any(id(thing) in parts for thing in suspect.things):
            return why
    return None


def kept_fd(fd: int) -> str | None:
    """Return whose pipe a descriptor is that a library keeps for good, or None."""
    return next((why for path, why in _TRACKERS.items() if getattr(_loaded(path), "_fd", None) == fd), None)


def _parts(executor: object) -> Iterator[object]:
    """Yield what an executor is made of: its threads and children, and the ends of its pipes."""
    own = list(vars(executor).values())
    own += [entry for part in own if type(part) is dict for entry in part.copy().values()]
    yield from own
    for part in own:
        with contextlib.suppress(AttributeError):
            # By the lookup of all objects: what the suite handed in may compute its attributes.
            yield from object.__getattribute__(part, "__dict__").values()
