"""Workers that claim and release as fast as they can while some are killed and some are stopped."""

from __future__ import annotations

import os
import random
import select
import signal
import time
import traceback
from dataclasses import dataclass, field

from pytest_gpuguard.budget import Budget, BudgetTimeout
from pytest_gpuguard.budget.settings import Settings
from tests.processes.oracle import OverCommitError, Units

LIMIT = 2048
# Far above any wait in here: a grant that only the safety poll found has waited for it, and is counted.
SAFETY = 20.0


@dataclass
class Report:
    """What happened."""

    grants: int = 0
    over_commits: int = 0
    timeouts: int = 0
    late: int = 0
    kills: int = 0
    stops: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


def storm(root, *, enough, workers, kill_every, stop_share, most_seconds):
    """Run ``workers`` until it is ``enough``, and report.

    Parameters
    ----------
    enough
        Says from the report so far whether to end.
    kill_every
        Mean seconds between two blows.
    stop_share
        The share of blows that stop a worker for 20 to 300 ms instead of killing it.
    """
    read, write = os.pipe()
    report = Report()
    pids = {}
    for number in range(workers):
        pids[_worker(root, number, write)] = number
    started = time.monotonic()
    next_blow = started + 0.3
    frozen = {}
    try:
        while not enough(report) and time.monotonic() < started + most_seconds:
            if select.select([read], [], [], 0.005)[0]:
                _count(os.read(read, 65536), report)
            now = time.monotonic()
            for pid in [pid for pid, until in frozen.items() if now > until]:
                os.kill(pid, signal.SIGCONT)
                del frozen[pid]
            if now > next_blow:
                next_blow = now + random.expovariate(1 / kill_every)
                pid = random.choice(list(pids))
                if random.random() < stop_share:
                    if pid not in frozen:
                        os.kill(pid, signal.SIGSTOP)
                        frozen[pid] = now + random.uniform(0.02, 0.3)
                        report.stops += 1
                else:
                    frozen.pop(pid, None)
                    _end(pid)
                    number = pids.pop(pid)
                    pids[_worker(root, number, write)] = number
                    report.kills += 1
    finally:
        for pid in pids:
            _end(pid)
        os.set_blocking(read, False)
        _count(_rest(read), report)
        os.close(read)
        os.close(write)
    report.seconds = time.monotonic() - started
    return report


def _count(data, report):
    report.grants += data.count(b"g")
    report.over_commits += data.count(b"O")
    report.timeouts += data.count(b"T")
    report.late += data.count(b"L")
    if b"E" in data:
        report.errors.append("a worker failed: see stderr")


def _rest(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


def _end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _worker(root, number, write):
    pid = os.fork()
    if pid:
        return pid
    try:
        _work(root, number, write)
    except BaseException:
        traceback.print_exc()
        os.write(write, b"E")
    os._exit(3)


def _work(root, number, write):
    chance = random.Random()
    budget = Budget({"units": LIMIT}, root, label=f"worker {number}", settings=Settings(safety=SAFETY))
    units = Units(root / "units", LIMIT)
    while True:
        kind = chance.random()
        amount = (
            chance.randint(1, 64)
            if kind < 0.7
            else chance.randint(256, 512)
            if kind < 0.9
            else chance.randint(1024, LIMIT)
        )
        late = budget.late
        try:
            lease = budget.acquire({"units": amount}, timeout=60.0)
        except BudgetTimeout:
            os.write(write, b"T")
            continue
        try:
            ranges = units.take(amount)
        except OverCommitError:
            os.write(write, b"O")
            lease.release()
            continue
        os.write(write, b"L" if budget.late > late else b"g")
        time.sleep(chance.expovariate(1000))
        units.drop(ranges)
        lease.release()
