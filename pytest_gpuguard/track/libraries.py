"""What a library keeps for good under a name of its own: what hangs on that is known, and nobody's leak."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuguard.track.probe import Suspect

__all__ = ["kept_fd", "kept_for_good"]

#: Bound here: tests that are watched put something else in its place.
_stat = partial(os.fstat)

#: Executors that go on from one use to the next, by ``module:name``.
_EXECUTORS = dict.fromkeys(
    ("loky.reusable_executor:_executor", "joblib.externals.loky.reusable_executor:_executor"),
    "loky (joblib) keeps one reusable executor",
)
#: Threads without work that wait some seconds for more: by ``module:name``, the attribute that lists them.
_IDLE = {
    "trio._core._thread_cache:THREAD_CACHE": ("_idle_workers", "trio keeps idle threads for a while"),
}
#: Who holds the writing end of a pipe by which a server of its own learns that it is no longer needed: by
#: ``module:name``, the attribute with its number, and why.
_PIPES = {
    "multiprocessing.resource_tracker:_resource_tracker": (
        "_fd",
        "multiprocessing keeps one resource tracker",
    ),
    "multiprocessing.forkserver:_forkserver": (
        "_forkserver_alive_fd",
        "multiprocessing keeps one fork server",
    ),
    "loky.backend.resource_tracker:_resource_tracker": ("_fd", "loky (joblib) keeps one resource tracker"),
    "joblib.externals.loky.backend.resource_tracker:_resource_tracker": (
        "_fd",
        "loky (joblib) keeps one resource tracker",
    ),
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
    for path, (name, why) in _IDLE.items():
        idle = {id(worker) for worker in getattr(_loaded(path), name, {}).copy()}
        if idle and any(id(thing) in idle for thing in suspect.things):
            return why
    return None


def kept_fd(fd: int) -> str | None:
    """Return why a library keeps a descriptor for good, or None when none is known to."""
    for path, (name, why) in _PIPES.items():
        if getattr(_loaded(path), name, None) == fd:
            return why
    # The heap's own number, and that of its mapping, which nobody tells.
    free = {_file(arena) for arena in _free_arenas()}
    return "multiprocessing keeps its heap" if free and _file(fd) in free else None


def _free_arenas() -> Iterator[int]:
    """Yield the files behind the values and arrays of multiprocessing that hold none of them any more."""
    heap = getattr(_loaded("multiprocessing.heap:BufferWrapper"), "_heap", None)
    used = getattr(heap, "_allocated_blocks", {})
    return (arena.fd for arena in getattr(heap, "_arenas", ()) if not used.get(arena))


def _file(fd: int) -> tuple[int, int] | int:
    """Return which file is open under a number, or the number itself when none is."""
    try:
        found = _stat(fd)
    except OSError:
        return fd
    return found.st_dev, found.st_ino


def _parts(executor: object) -> Iterator[object]:
    """Yield what an executor is made of: its threads and children, and the ends of its pipes."""
    own = list(vars(executor).values())
    own += [entry for part in own if type(part) is dict for entry in part.copy().values()]
    yield from own
    for part in own:
        with contextlib.suppress(AttributeError):
            # By the lookup of all objects: what the suite handed in may compute its attributes.
            yield from object.__getattribute__(part, "__dict__").values()
