"""What only a failed test's traceback keeps alive is no leak.

pytest keeps the frames of a failure for some tests, and nobody can tell for how long. So what they hold is
looked at again after the next tests, a few times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuguard.track.probe import Suspect
    from pytest_gpuguard.track.scope import Birth

__all__ = ["Excuses"]

_MOST_LOOKS = 3


class Excuses:
    """Remembers what was excused, and in how many judgements."""

    def __init__(self) -> None:
        # By the births themselves: a number that says where one was may soon say where another one is.
        self._looks: dict[Birth, int] = {}
        self._now: set[Birth] = set()
        self._failed = False

    def begin(self, *, failed: bool) -> None:
        """Begin a judgement, after a test that failed or one that did not."""
        self._failed = failed
        self._now.clear()

    def others(self, suspects: Iterable[Suspect]) -> list[Suspect]:
        """Return those suspects that were not excused in this judgement."""
        return [suspect for suspect in suspects if suspect.birth not in self._now]

    def sift(self, suspects: Iterable[Suspect]) -> list[Suspect]:
        """Return those suspects that nothing excuses; the rest is for a later judgement. Costly."""
        others = self.others(suspects)
        open_ = [one for one in others if one.by_reference and self._may_be_excused(one)]
        if not open_:
            return others
        for suspect, excused in zip(open_, _excusable([one.things for one in open_]), strict=True):
            key = suspect.birth
            looks = self._looks.pop(key, 0)
            if excused:
                self._now.add(key)
                self._looks[key] = looks + 1
        return self.others(others)

    def _may_be_excused(self, suspect: Suspect) -> bool:
        return self._failed or suspect.birth in self._looks or suspect.birth.owner.failed

    @property
    def pending(self) -> bool:
        """Whether something is to be looked at again."""
        return any(self._looks.get(key, 0) <= _MOST_LOOKS for key in self._now)

    def __len__(self) -> int:
        return len(self._looks)


def _excusable(bunches: list[list[object]]) -> list[bool]:
    # Where nobody tells which objects stand for a thing, they may be the traceback's for good.
    from pytest_gpuguard.track.referrers import kept_by_traceback

    told = iter(kept_by_traceback([bunch for bunch in bunches if bunch]))
    return [next(told) if bunch else True for bunch in bunches]
