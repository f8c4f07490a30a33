"""What tests of several runs agree on outside of the budget: a number under a file lock, and its maximum."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path


def _change(by: int) -> int:
    path = Path(os.environ["TOGETHER"])
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now, most, entries = json.loads(file.read() or "[0, 0, 0]")
        now += by
        file.truncate(0)
        file.write(json.dumps([now, max(now, most), entries + (by > 0)]))
    return now


@contextlib.contextmanager
def using(amount: int):
    """Use ``amount`` for a block."""
    _change(amount)
    try:
        yield
    finally:
        _change(-amount)


def held(name: str = "pinned") -> int:
    """Return what the budget in ``BUDGET`` says is held in all."""
    from pytest_gpuguard import Budget

    snapshot = Budget({}, os.environ["BUDGET"]).snapshot()
    return sum(holder.amounts.get(name, 0) for holder in snapshot.holders)
