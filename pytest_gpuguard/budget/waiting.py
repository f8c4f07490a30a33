"""Sleeping between looks, and why no wake-up is lost on the way.

The order of things in :func:`wait` is what model checking left over. Empty the own pipe *before* looking: a
byte that comes later ends the sleep. Watch exactly those whom the look saw (R2). After opening a watch look
again (R1): whoever died before it was open never hangs up on it.
"""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_gpuguard.budget import refusals
from pytest_gpuguard.ledger.wakeup import Wake, Watches, drain

if TYPE_CHECKING:
    from pytest_gpuguard.budget.claimant import Claimant
    from pytest_gpuguard.budget.patience import Patience

__all__ = ["wait"]

# The kernel may report a hang-up a little before it drops the locks of the same process.
_AFTER_DEATH_LOOKS, _AFTER_DEATH_SLEEP = 50, 1e-3


def wait(claimant: Claimant, patience: Patience) -> None:
    """Return when what ``claimant`` stands in line for is its own.

    Raises
    ------
    BudgetTimeout
        When patience ends first.
    """
    member, settings = claimant.member, claimant.settings
    quick_looks = 0
    late = False
    with closing(Watches(member.folder, member.bell)) as watches:
        while True:
            drain(member.bell)
            seen = claimant.look()
            if seen.granted:
                claimant.late += late
                return
            now = settings.monotonic()
            beats = member.beats()
            patience.look(now, (seen.standing, tuple(beats.get(slot) for slot in seen.ahead)))
            left = patience.left(now)
            if left <= 0:
                raise refusals.timed_out(claimant, patience.gave_up(now))
            if watches.aim(seen.watch) and not quick_looks:
                continue  # R1
            settings.seam("wait: watching")
            stall = claimant.stall_in(now)
            poll = settings.safety * random.uniform(0.75, 1.25)
            quick = _AFTER_DEATH_SLEEP if quick_looks else poll
            wake = watches.sleep(min(left, stall, quick))
            late = wake is Wake.TIMER and quick is poll and poll <= min(stall, left)
            quick_looks = _AFTER_DEATH_LOOKS if wake is Wake.HANGUP else max(0, quick_looks - 1)
