"""The clock by which we go, whatever tests do to theirs.

They put something else in the place of ``time.monotonic`` and ``time.sleep``: what raises once its list is
used up, what counts its calls, what stands still. And we are called within such tests, when a thread is
started, a fixture set up, a phase over.
"""

from __future__ import annotations

import time
from functools import partial

__all__ = ["monotonic", "sleep"]

# Not the functions themselves: freezegun replaces these in every module that has them.
monotonic = partial(time.monotonic)
sleep = partial(time.sleep)
