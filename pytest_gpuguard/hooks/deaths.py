"""What pytest's side knows of threads that die: whether the suite expects it, and what a broken wait says."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.ended import TestEnded
from pytest_gpuguard.track.leak import origin
from pytest_gpuguard.track.words import said, sound

if TYPE_CHECKING:
    from pytest_gpuguard.track.deaths import Death
    from pytest_gpuguard.track.stacks import Places

__all__ = ["death_error", "death_record", "expected"]


def expected(text: str, *, raw: bool) -> bool:
    """Return whether the suite ignores pytest's warning of that text; the first filter that fits decides."""
    ours = pytest.PytestUnraisableExceptionWarning if raw else pytest.PytestUnhandledThreadExceptionWarning
    for action, message, category, module, _ in warnings.filters:
        if (message is None or re.match(message, text)) and module is None and issubclass(ours, category):
            return action == "ignore"
    return False


def death_error(death: Death, places: Places, waited: float) -> BaseException:
    """Return what breaks a wait for a thread that is gone, ``waited`` seconds after its end."""
    where = death.birth and origin(death.birth, places)["fixture"]
    by = f"fixture `{where['name']}` ({where['file']}:{where['line']})" if where else "the test"
    return TestEnded(
        f"GPG110: thread {death.target.rpartition(':')[2]} ({sound(death.thread)!r}), started by {by}, "
        f"ended with {said(death.error)}\n"
        f"then the test stayed in one wait or loop for {waited:g} s and was ended; "
        "the thread's own traceback is shown as the cause\n"
        "does it wait for something else, ignore pytest.PytestUnhandledThreadExceptionWarning for it, "
        "or set --gpuguard-thread-death=report"
    )


def death_record(death: Death, places: Places, worker: str, started: float) -> dict[str, Any]:
    """Return a death as plain values; ``started`` is the run's start in monotonic seconds."""
    return {
        "thread": sound(death.thread),
        "target": death.target,
        "error": places.scrub(said(death.error)),
        "nodeid": death.owner.node,
        "worker": worker,
        "at": death.at - started,
        "interrupted": death.interrupted,
        "origin": origin(death.birth, places) if death.birth else None,
    }
