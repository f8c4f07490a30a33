"""What a claim costs, beside what else could be used: ``python -m benchmarks.budget``.

Medians are held against goals; tails (99 of 100 are faster) are shown, not held against anything: on a shared
machine they tell of the machine. Each case runs about a second. FileLock is measured again right beside the
budget, so that a busy machine slows both alike. Exit status 1 when a goal was missed.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import filelock

from pytest_gpuguard.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Barrier

SECONDS = 1.0
LIMIT = 1 << 30
FORK = multiprocessing.get_context("fork")


class Spread(NamedTuple):
    """The middle and the tail of many measurements, in seconds."""

    median: float
    tail: float


def spread(seconds: Sequence[float]) -> Spread:
    """Return the middle and the tail of ``seconds``."""
    return Spread(statistics.median(seconds), statistics.quantiles(seconds, n=100, method="inclusive")[98])


class Row(NamedTuple):
    """One figure: the goal it must stay below (or above), if it has one, and its tail."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    tail: float | None = None

    @classmethod
    def of(cls, name: str, measured: Spread, unit: str, goal: float | None = None) -> Row:
        """Return the row of a time."""
        factor = {"us": 1e6, "ms": 1e3}[unit]
        return cls(name, measured.median * factor, unit, goal, tail=measured.tail * factor)

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def pair_cost(pair: Callable[[], object]) -> Spread:
    """Return what one acquire+release costs."""
    pair()
    costs = []
    end = now = time.perf_counter()
    end += SECONDS
    while now < end:
        started = now
        pair()
        now = time.perf_counter()
        costs.append(now - started)
    return spread(costs)


def pairs(root: Path) -> dict[str, Callable[[], object]]:
    """Return one acquire+release by other means, by name."""
    fd = os.open(root / "bare", os.O_RDWR | os.O_CREAT)
    lock = filelock.FileLock(root / "lock", poll_interval=0.001)
    base = sqlite3.connect(root / "ledger.db", isolation_level=None, timeout=30.0)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=off")
    base.execute("create table if not exists held (who int, amount int)")
    return {
        "bare lock_descriptor pair": lambda: _bare(fd),
        "filelock.FileLock": lambda: _file_lock(lock),
        "FileLock and a JSON ledger": lambda: _json(lock, root / "ledger.json"),
        "SQLite (WAL, no sync)": lambda: _sqlite(base),
    }


def yardsticks(root: Path) -> Iterator[Row]:
    """Yield the cost of one pair by other means."""
    for name, pair in pairs(root).items():
        yield Row.of(name, pair_cost(pair), "us")


def _bare(fd: int) -> None:
    while not filelock.lock_descriptor(fd, blocking=False):
        os.sched_yield()
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
    yield Row.of("budget, uncontended, with its note", cost, "us", 40)
    beside = statistics.mean((before.median, after.median))
    yield Row("  as a share of FileLock's", cost.median / beside, "", 0.5)
    mine.close()


def crowded(root: Path) -> Iterator[Row]:
    """Yield the cost of a pair beside 63 other participants that hold something."""
    others = [budget(root) for _ in range(63)]
    leases = [other.acquire({"pinned": 1}) for other in others]
    mine = budget(root)
    cost = pair_cost(lambda: mine.acquire({"pinned": 1}).release())
    yield Row.of("budget beside 63 holders", cost, "us", 500)
    for lease in leases:
        lease.release()
    for other in (*others, mine):
        other.close()


def _claims(root: Path, amount: int) -> Callable[[], object]:
    mine = budget(root)
    return lambda: mine.acquire({"pinned": amount}, timeout=30.0).release()


def _hammer(made: Callable[[], Callable[[], object]], start: Barrier, count: Synchronized[int]) -> None:
    pair = made()
    pair()
    start.wait()
    until = time.monotonic() + SECONDS
    done = 0
    while time.monotonic() < until:
        pair()
        done += 1
    with count.get_lock():
        count.value += done


def throughput(made: Callable[[], Callable[[], object]]) -> float:
    """Return pairs per second of eight processes without pause.

    Parameters
    ----------
    made
        Makes the pair that one process repeats.
    """
    count = FORK.Value("q", 0)
    start = FORK.Barrier(8)
    workers = [FORK.Process(target=_hammer, args=(made, start, count)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count.value / SECONDS


def together(root: Path) -> Iterator[Row]:
    """Yield what eight processes get done: by other means, with enough for all, and one at a time."""
    for name in list(pairs(root))[1:]:
        yield Row(f"8 processes, {name}", throughput(lambda name=name: pairs(root)[name]), "pairs/s")
    for name, amount, goal in (("enough for all", 1, 20_000), ("one at a time", LIMIT, 1_000)):
        folder = root / str(amount)
        folder.mkdir()
        done = throughput(partial(_claims, folder, amount))
        yield Row(f"8 processes, budget, {name}", done, "pairs/s", goal, more_is_better=True)


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


def release_to_grant(root: Path, rounds: int = 200) -> Spread:
    """Return how long it takes from a release in one process to the grant in another."""
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
    return spread(waits)


def kill_to_grant(root: Path, rounds: int = 60) -> Spread:
    """Return how long it takes from ``kill -9`` of the holder to the grant of the waiter."""
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
    return spread(waits)


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
    yield from together(root / "together")
    yield Row.of("release -> grant", release_to_grant(root / "release"), "ms", 0.6)
    yield Row.of("kill -9 -> grant", kill_to_grant(root / "kill"), "ms", 3.0)
    yield Row("wait of one large / seven small", fairness(root / "fair"), "", 2.0)


def main() -> int:
    """Print the table; return 1 when a goal was missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("alone", "crowded", "together", "release", "kill", "fair"):
            (Path(folder) / name).mkdir()
        print(f"{'':<40}{'median':>10} {'':<8}{'goal':>16}{'99 of 100':>14}")
        for row in rows(Path(folder)):
            goal = ""
            if row.goal is not None:
                sign = ">=" if row.more_is_better else "<="
                goal = f"{sign} {row.goal:g} {'met' if row.met else 'MISSED'}"
                missed += not row.met
            tail = "" if row.tail is None else f"{row.tail:.2f}"
            print(f"{row.name:<40}{row.value:>10.2f} {row.unit:<8}{goal:>16}{tail:>14}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
