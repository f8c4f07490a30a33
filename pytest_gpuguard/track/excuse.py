"""What only a failed test's traceback keeps alive is no leak.

pytest keeps the frames of a failure for some tests, and nobody can tell for how long. So what they hold is
looked at again after the next tests, a few times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuguard.track.referrers import kept_by_traceback

if TYPE_CHECKING:
    from pytest_gpuguard.track.probe import Suspect

__all__ = ["Excuses"]

_MOST_LOOKS = 3


class Excuses:
    """Remembers what was excused, and in how many judgements."""

    def __init__(self) -> None:
        self._looks: dict[int, int] = {}
        self._now: set[int] = set()
        self._failed = False
        #: Whether something is to be looked at again.
        self.pending = False

    def begin(self, *, failed: bool) -> None:
        """Begin a judgement, after a test that failed or one that did not."""
        self.pending, self._failed = False, failed
        self._now.clear()

    def excuses(self, suspect: Suspect) -> bool:
        """Return whether ``suspect`` is for a later judgement."""
        key = id(suspect.birth)
        if key in self._now:
            return True
        looks = self._looks.get(key, 0)
        if not suspect.by_reference or not (looks or self._failed):
            return False
        things = suspect.things
        # Where nobody tells which objects stand for it, they may be the traceback's for good.
        if things and not kept_by_traceback(things):
            self._looks.pop(key, None)
            return False
        self._now.add(key)
        self._looks[key] = looks + 1
        self.pending |= looks < _MOST_LOOKS
        return True

    def __len__(self) -> int:
        return len(self._looks)
