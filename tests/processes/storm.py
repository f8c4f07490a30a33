"""Workers that claim and release as fast as they can while some are killed and some are stopped."""

from __future__ import annotations

import os
import random
import select
import signal
import time
import traceback
from dataclasses import dataclass, field

from pytest_gpuguard.budget import Budget, BudgetDeadlock, BudgetTimeout
from pytest_gpuguard.budget.settings import Settings
from tests.processes.oracle import OverCommitError, Units

LIMIT = 2048
# Far above any wait in here, and above its timeout: who is not woken shows as a timeout.
SAFETY = 300.0


@dataclass
class Report:
    """What happened."""

    grants: int = 0
    over_commits: int = 0
    timeouts: int = 0
    late: int = 0
    refused: int = 0
    kills: int = 0
    stops: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


def storm(root, *, enough, workers, kill_every, stop_share, most_seconds, work=None):
    """Run ``workers`` until it is ``enough``, and report.

    Parameters
    ----------
    enough
        Says from the report so far whether to end.
    kill_every
        Mean seconds between two blows.
    stop_share
        The share of blows that stop a worker for 20 to 300 ms instead of killing it.
    work
        What each worker does, :func:`single_claims` or :func:`nested_claims`.
    """
    read, write = os.pipe()
    report = Report()
    pids = {}
    for number in range(workers):
        pids[_worker(work, root, number, write)] = number
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
                    pids[_worker(work, root, number, write)] = number
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
    report.refused += data.count(b"D")
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


def _worker(work, root, number, write):
    pid = os.fork()
    if pid:
        return pid
    try:
        (work or single_claims)(root, number, write)
    except BaseException:
        traceback.print_exc()
        os.write(write, b"E")
    os._exit(3)


class Worker:
    """Claims, and lets the judge check each grant.

    Parameters
    ----------
    limits
        Of each resource.
    write
        Where outcomes are written, one letter each.
    """

    def __init__(self, root, number, limits, write):
        self.budget = Budget(limits, root, label=f"worker {number}", settings=Settings(safety=SAFETY))
        self.units = {name: Units(root / name, limit) for name, limit in limits.items()}
        self.write = write

    def claim(self, amounts):
        """Return the lease and its units, None when there are none."""
        late = self.budget.late
        try:
            lease = self.budget.acquire(amounts, timeout=120.0)
        except (BudgetTimeout, BudgetDeadlock) as error:
            os.write(self.write, b"T" if isinstance(error, BudgetTimeout) else b"D")
            return None
        try:
            ranges = {name: self.units[name].take(amount) for name, amount in amounts.items()}
        except OverCommitError:
            os.write(self.write, b"O")
            lease.release()
            return None
        os.write(self.write, b"L" if self.budget.late > late else b"g")
        return lease, ranges

    def drop(self, claimed):
        """Give the units back, and then the lease."""
        lease, ranges = claimed
        for name, taken in ranges.items():
            self.units[name].drop(taken)
        lease.release()


def single_claims(root, number, write):
    """Claim and release one amount after another: mostly small ones, some of them half or all."""
    chance = random.Random()
    worker = Worker(root, number, {"units": LIMIT}, write)
    while True:
        low, high = chance.choices([(1, 64), (256, 512), (1024, LIMIT)], weights=[7, 2, 1])[0]
        claimed = worker.claim({"units": chance.randint(low, high)})
        time.sleep(chance.expovariate(1000))
        if claimed:
            worker.drop(claimed)


def nested_claims(root, number, write):
    """Hold some of two resources, and claim more of both again and again; refusals are part of it."""
    chance = random.Random()
    limits = {"units": LIMIT, "others": 100}
    worker = Worker(root, number, limits, write)

    def some(share):
        return {name: chance.randint(0, int(limit * share)) for name, limit in limits.items()}

    def inner_claims():
        for _ in range(chance.randint(1, 12)):
            inner = worker.claim(some(0.6))
            time.sleep(chance.expovariate(1000))
            if inner is None:
                return
            worker.drop(inner)

    while True:
        outer = worker.claim(some(0.3))
        if outer:
            inner_claims()
            worker.drop(outer)
