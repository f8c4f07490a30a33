"""What a claim costs, beside what else could be used: ``python -m benchmarks.budget``.

Medians; each case runs about a second. FileLock is measured again right beside the budget, so that a busy
machine slows both alike. Exit status 1 when a goal was missed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import filelock

from pytest_gpuguard.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Barrier

SECONDS = 1.0
LIMIT = 1 << 30
FORK = multiprocessing.get_context("fork")


class Row(NamedTuple):
    """One figure: the goal it must stay below (or above), if it has one."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def pair_cost(pair: Callable[[], object]) -> float:
    """Return the median of one acquire+release in microseconds, in batches of 50."""
    pair()
    batches = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(50):
            pair()
        batches.append((time.perf_counter() - started) / 50)
    return statistics.median(batches) * 1e6


def yardsticks(root: Path) -> Iterator[Row]:
    """Yield the cost of one pair by other means."""
    fd = os.open(root / "bare", os.O_RDWR | os.O_CREAT)
    yield Row("bare lock_descriptor pair", pair_cost(lambda: _bare(fd)), "us")
    lock = filelock.FileLock(root / "lock")
    yield Row("filelock.FileLock", pair_cost(lambda: _file_lock(lock)), "us")
    yield Row("FileLock and a JSON ledger", pair_cost(lambda: _json(lock, root / "ledger.json")), "us")
    base = sqlite3.connect(root / "ledger.db", isolation_level=None)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=off")
    base.execute("create table if not exists held (who int, amount int)")
    yield Row("SQLite (WAL, no sync)", pair_cost(lambda: _sqlite(base)), "us")
    base.close()
    os.close(fd)


def _bare(fd: int) -> None:
    filelock.lock_descriptor(fd, blocking=False)
    filelock.unlock_descriptor(fd)


def _file_lock(lock: filelock.BaseFileLock) -> None:
    with lock:
        pass


def _json(lock: filelock.BaseFileLock, path: Path) -> None:
    for held in ({"me": 100}, {}):
        with lock:
            if path.exists():
                json.loads(path.read_text())
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(held))
            beside.replace(path)


def _sqlite(base: sqlite3.Connection) -> None:
    base.execute("begin immediate")
    base.execute("select sum(amount) from held").fetchone()
    base.execute("insert into held values (1, 100)")
    base.execute("commit")
    base.execute("begin immediate")
    base.execute("delete from held where who = 1")
    base.execute("commit")


def budget(root: Path) -> Budget:
    """Return a participant."""
    return Budget({"pinned": LIMIT}, root, label="benchmark")


def alone(root: Path) -> Iterator[Row]:
    """Yield the cost of an uncontended pair: in itself, and beside FileLock's in the same second."""
    lock = filelock.FileLock(root / "beside")
    mine = budget(root / "alone")
    before = pair_cost(lambda: _file_lock(lock))
    cost = pair_cost(lambda: mine.acquire({"pinned": 100}, label="tests/test_a.py::test_x").release())
    after = pair_cost(lambda: _file_lock(lock))
    yield Row("budget, uncontended, with its note", cost, "us", 40)
    yield Row("  as a share of FileLock's", cost / statistics.mean((before, after)), "", 0.5)
    mine.close()


def crowded(root: Path) -> Iterator[Row]:
    """Yield the cost of a pair beside 63 other participants that hold something."""
    others = [budget(root) for _ in range(63)]
    leases = [other.acquire({"pinned": 1}) for other in others]
    mine = budget(root)
    yield Row("budget beside 63 holders", pair_cost(lambda: mine.acquire({"pinned": 1}).release()), "us", 500)
    for lease in leases:
        lease.release()
    for other in (*others, mine):
        other.close()


def _hammer(root: Path, amount: int, start: Barrier, count: Synchronized[int]) -> None:
    mine = budget(root)
    mine.acquire({"pinned": amount}, timeout=30.0).release()
    start.wait()
    until = time.monotonic() + SECONDS
    done = 0
    while time.monotonic() < until:
        mine.acquire({"pinned": amount}, timeout=30.0).release()
        done += 1
    with count.get_lock():
        count.value += done


def throughput(root: Path, amount: int) -> float:
    """Return pairs per second of eight processes that claim ``amount`` each without pause."""
    count = FORK.Value("q", 0)
    start = FORK.Barrier(8)
    workers = [FORK.Process(target=_hammer, args=(root, amount, start, count)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count.value / SECONDS


def _holder(root: Path, pipe: Connection, hold: float) -> None:
    mine = budget(root)
    while True:
        lease = mine.acquire({"pinned": LIMIT}, timeout=30.0)
        pipe.send(None)
        pipe.recv()
        time.sleep(hold)
        released = time.monotonic()
        lease.release()
        pipe.send(released)
        pipe.recv()


def release_to_grant(root: Path, rounds: int = 120) -> float:
    """Return the median from a release in one process to the grant in another, in milliseconds."""
    mine = budget(root)
    ours, theirs = FORK.Pipe()
    holder = FORK.Process(target=_holder, args=(root, theirs, 0.004), daemon=True)
    holder.start()
    waits = []
    for _ in range(rounds):
        ours.recv()
        ours.send(None)
        with mine.acquire({"pinned": LIMIT}, timeout=30.0):
            granted = time.monotonic()
        waits.append(granted - ours.recv())
        ours.send(None)
    holder.kill()
    holder.join()
    mine.close()
    return statistics.median(waits) * 1e3


def kill_to_grant(root: Path, rounds: int = 60) -> float:
    """Return the median from ``kill -9`` of the holder to the grant of the waiter, in milliseconds."""
    waits = []
    mine = budget(root)
    for _ in range(rounds):
        ours, theirs = FORK.Pipe()
        holder = FORK.Process(target=_holder, args=(root, theirs, 60.0))
        holder.start()
        ours.recv()
        killed: list[float] = []

        def blow(holder: BaseProcess = holder, killed: list[float] = killed) -> None:
            killed.append(time.monotonic())
            holder.kill()

        threading.Timer(0.01, blow).start()
        with mine.acquire({"pinned": LIMIT}, timeout=30.0):
            waits.append(time.monotonic() - killed[0])
        holder.join()
    mine.close()
    return statistics.median(waits) * 1e3


def _claimant(root: Path, amount: int, until: float, pipe: Connection) -> None:
    mine = budget(root)
    waits = []
    while time.monotonic() < until:
        started = time.monotonic()
        with mine.acquire({"pinned": amount}, timeout=30.0):
            waits.append(time.monotonic() - started)
            time.sleep(0.002)
    pipe.send(waits)


def fairness(root: Path) -> float:
    """Return the mean wait of one large claimant over that of seven small ones."""
    until = time.monotonic() + 2 * SECONDS
    pipes = []
    for amount in [LIMIT, *[LIMIT // 8] * 7]:
        ours, theirs = FORK.Pipe()
        FORK.Process(target=_claimant, args=(root, amount, until, theirs), daemon=True).start()
        pipes.append(ours)
    large, *small = [pipe.recv() for pipe in pipes]
    return statistics.fmean(large) / statistics.fmean(wait for waits in small for wait in waits)


def rows(root: Path) -> Iterator[Row]:
    """Yield all figures."""
    yield from yardsticks(root)
    yield from alone(root)
    yield from crowded(root / "crowded")
    yield Row(
        "8 processes, enough for all", throughput(root / "many", 1), "pairs/s", 20_000, more_is_better=True
    )
    yield Row(
        "8 processes, one at a time", throughput(root / "one", LIMIT), "pairs/s", 1_000, more_is_better=True
    )
    yield Row("release -> grant", release_to_grant(root / "release"), "ms", 0.6)
    yield Row("kill -9 -> grant", kill_to_grant(root / "kill"), "ms", 3.0)
    yield Row("wait of one large / seven small", fairness(root / "fair"), "", 2.0)


def main() -> int:
    """Print the table; return 1 when a goal was missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("alone", "crowded", "many", "one", "release", "kill", "fair"):
            (Path(folder) / name).mkdir()
        print(f"{'':<38}{'median':>12}  {'goal':>18}")
        for row in rows(Path(folder)):
            goal = ""
            if row.goal is not None:
                sign = ">=" if row.more_is_better else "<="
                goal = f"{sign} {row.goal:g} {'met' if row.met else 'MISSED'}"
                missed += not row.met
            print(f"{row.name:<38}{row.value:>10.2f} {row.unit:<8}{goal:>16}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
