"""What a failed test's traceback keeps alive is no leak, as long as nothing else does.

pytest leaves the last failure in ``sys.last_value`` until the next test is called, and may keep its frames
for longer elsewhere. So what they hold is looked at again after the next tests, a few times.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_gpuguard.track.holding import holds
from pytest_gpuguard.track.referrers import kept_by_traceback
from pytest_gpuguard.track.stacks import HARNESS

if TYPE_CHECKING:
    from pytest_gpuguard.track.probe import Suspect

__all__ = ["Excuses"]

_MOST_LOOKS = 3

_MOST_CAUSES = 10


class Excuses:
    """Remembers what was excused, and how often it was looked at."""

    def __init__(self) -> None:
        self._looks: dict[int, int] = {}
        #: Whether something is to be looked at again.
        self.pending = False

    def begin(self) -> None:
        """A judgement begins."""
        self.pending = False
        self._counted: set[int] = set()

    def excuses(self, suspect: Suspect) -> bool:
        """Return whether ``suspect`` is for a later judgement."""
        key = id(suspect.birth)
        looks = self._looks.get(key, 0)
        excused = _by_last_failure(suspect) if not looks else kept_by_traceback(suspect.things)
        if excused and key not in self._counted:
            self._counted.add(key)
            self._looks[key] = looks + 1
        if excused:
            self.pending |= looks < _MOST_LOOKS
        else:
            self._looks.pop(key, None)
        return excused

    def __len__(self) -> int:
        return len(self._looks)


def _by_last_failure(suspect: Suspect) -> bool:
    """Return whether the traceback of the last failure may be all that keeps ``suspect``."""
    failure = getattr(sys, "last_value", None)
    if failure is None or not suspect.by_reference:
        return False
    things = suspect.things
    # Where nobody tells which objects stand for it, any of them may.
    return not things or holds(_locals(failure), things)


def _locals(failure: BaseException | None) -> list[object]:
    """Return what the frames of a failure and of its causes hold."""
    found: list[object] = []
    for _ in range(_MOST_CAUSES):
        if failure is None:
            break
        step = failure.__traceback__
        while step is not None:
            module = str(step.tb_frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] not in HARNESS:
                found.extend(step.tb_frame.f_locals.values())
            step = step.tb_next
        failure = failure.__cause__ or failure.__context__
    return found
