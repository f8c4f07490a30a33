"""What scheduling by needs is worth, beside a lease alone: ``python -m benchmarks.contention [PART ...]``.

Parts: ``case`` (six long tests that exclude each other among thirty short ones), ``random-2``, ``random-4``
and ``random-8`` (real runs of random suites with so many workers), ``virtual`` (the same scheduler with 8 to
64 workers in virtual time), ``cpu`` (20,000 empty tests).

Tests sleep. Times are from the beginning of the first test to the end of the last, as the tests themselves
note them; so are over-commits. xdist sends the first test when all workers have collected: their start is no
part of it. Bounds are what no scheduler can beat: the most of all sleep over all workers, amount times sleep
over the limit, the longest group, and all tests of which no two fit together. What pytest, xdist and the
lease do between two tests is no part of a bound, yet of the time; it is told beside, as are the seconds in
which workers have nothing to do any more. Exit status 1 when a goal was missed.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.budget.limits import usable_processors
from pytest_gpuguard.plan.rehearsal import Rehearsal, lower_bound
from pytest_gpuguard.plan.suite import Need, Suite

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
#: How long random tests sleep: what pytest does between two of them is to be little beside it.
SLEEP = (0.05, 0.3)
SEEDS = (1, 2, 3)
#: Ways to run a suite: what is scheduled by needs, and beside it xdist's own with the lease alone.
OURS = ("--dist=load",)
OTHERS = {dist: (f"--dist={dist}", "--gpuguard-scheduler=off") for dist in ("load", "loadgroup", "worksteal")}
TESTS = """
import json, os, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent

def case(number, seconds, amount, group):
    marks = [pytest.mark.gpu(pinned=amount)] if amount else []
    marks += [pytest.mark.xdist_group(group)] if group else []
    return pytest.param(seconds, amount, marks=marks, id=str(number))

CASES = [case(number, *entry) for number, entry in enumerate(json.loads((HERE / "cases.json").read_text()))]

@pytest.mark.parametrize(("seconds", "amount"), CASES)
def test_it(seconds, amount):
    begun = time.monotonic()
    time.sleep(seconds)
    with open(HERE / f"times-{os.getpid()}.txt", "a") as file:
        file.write(json.dumps([begun, time.monotonic(), amount]) + "\\n")
"""


class Case(NamedTuple):
    """A suite: seconds, amount of the budget and group of each test."""

    tests: list[tuple[float, int, str]]
    limit: int

    @property
    def suite(self) -> tuple[Suite, list[Need]]:
        """The suite as the scheduler knows it."""
        amounts = sorted({amount for _, amount, _ in self.tests if amount})
        groups: dict[str, list[int]] = {}
        for test, (_, _, group) in enumerate(self.tests):
            if group:
                groups.setdefault(group, []).append(test)
        kinds = {test: amounts.index(amount) for test, (_, amount, _) in enumerate(self.tests) if amount}
        needs = [Need({"pinned": amount}) for amount in amounts]
        return Suite(len(self.tests), groups=groups, needs=kinds), needs

    @property
    def seconds(self) -> list[float]:
        """How long each test takes."""
        return [seconds for seconds, _, _ in self.tests]

    def bound(self, workers: int) -> float:
        """Return what no scheduler can beat."""
        suite, needs = self.suite
        return lower_bound(suite, needs, {"pinned": self.limit}, self.seconds, workers)


def contention() -> Case:
    """Return the case of six long tests among thirty short ones."""
    tests = [(0.5, 60 * MIB, "") if number % 6 == 0 else (0.1, 0, "") for number in range(36)]
    return Case(tests, 100 * MIB)


def random_case(seed: int, scale: int = 1) -> Case:
    """Return 30 tests that need 20 to 100 of 100, 100 that need nothing (times ``scale``), a group of 20.

    The budget is scaled too. With 8 workers and no more than 30 such tests it is a puzzle which of them fit
    beside each other, whose best solution may be far above the bound.
    """
    draw = random.Random(seed)
    tests = [
        (round(draw.uniform(*SLEEP), 3), draw.randrange(20, 101, 10) * MIB, "") for _ in range(30 * scale)
    ]
    tests += [(round(draw.uniform(*SLEEP), 3), 0, "") for _ in range(100 * scale)]
    draw.shuffle(tests)
    group = [(round(draw.uniform(*SLEEP), 3), 0, "group") for _ in range(20)]
    return Case([*tests, *group], 100 * MIB * scale)


class Result(NamedTuple):
    """One real run: its length, the most of the budget at once, and where the time of workers went.

    Attributes
    ----------
    usual
        The usual time between two tests of a worker.
    between, idle
        Seconds between tests, and before the first and after the last: means over the workers.
    """

    seconds: float
    peak: int
    usual: float
    between: float
    idle: float


def run(case: Case, workers: int, folder: Path, *options: str) -> Result:
    """Run a case for real in ``folder``, whose cache says what runs before have measured."""
    (folder / "cases.json").write_text(json.dumps(case.tests))
    (folder / "test_it.py").write_text(TESTS)
    for old in folder.glob("times-*"):
        old.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--gpuguard", *options]
    budget = [f"--gpuguard-budget=pinned={case.limit}", f"--gpuguard-budget-dir={folder}"]
    done = subprocess.run([*command, *budget], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    by_process = [
        [json.loads(line) for line in path.read_text().splitlines()] for path in folder.glob("times-*")
    ]
    times = [entry for entries in by_process for entry in entries]
    between = [after[0] - before[1] for entries in by_process for before, after in pairwise(entries)]
    changes = sorted(
        [(begin, amount) for begin, _, amount in times] + [(end, -amount) for _, end, amount in times]
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    begin, end = min(first for first, _, _ in times), max(last for _, last, _ in times)
    asleep = sum(last - first for first, last, _ in times) / workers
    return Result(
        end - begin,
        peak,
        statistics.median(between),
        sum(between) / workers,
        end - begin - asleep - sum(between) / workers,
    )


def line(name: str, value: float, unit: str, goal: float | None = None) -> bool:
    """Print a figure; return whether its goal is reached."""
    met = goal is None or value <= goal
    verdict = "" if goal is None else f"  goal {goal:g}: {'met' if met else 'MISSED'}"
    print(f"{name:58} {value:8.3f} {unit}{verdict}", flush=True)
    return met


def fresh() -> tempfile.TemporaryDirectory[str]:
    """Return a folder without history."""
    return tempfile.TemporaryDirectory(prefix="contention-")


def case_part() -> bool:
    """Measure the contention case."""
    case, met = contention(), True
    print(f"case, -n 2: no scheduler can beat {case.bound(2):.3f} s")
    with fresh() as folder:
        for name in ("gpuguard, first run", "gpuguard, with history"):
            result = run(case, 2, Path(folder), *OURS)
            met &= line(f"  {name}", result.seconds, "s", 3.2)
            met &= line("    the most held at once, of the budget", result.peak / case.limit, "", 1.0)
    for name, options in OTHERS.items():
        with fresh() as folder:
            line(f"  {name} and lease", run(case, 2, Path(folder), *options).seconds, "s")
    return met


def random_part(workers: int) -> bool:
    """Measure random suites, really run with so many workers; rivals with the first of them alone."""
    ratios: dict[str, list[float]] = {}
    met = True
    print(
        f"random suites, -n {workers}; this machine: {usable_processors():g} processors, to be shared by all "
        "workers and the controller"
    )
    for seed in SEEDS:
        case = random_case(seed, max(1, workers // 4))
        bound = case.bound(workers)
        with fresh() as folder:
            for name in ("gpuguard, first run", "gpuguard, with history"):
                result = run(case, workers, Path(folder), *OURS)
                met &= result.peak <= case.limit
                ratios.setdefault(name, []).append(result.seconds / bound)
                print(
                    f"  seed {seed}, {name}: {result.seconds:.2f} s, {ratios[name][-1]:.3f} of the bound; "
                    f"{result.between / bound:.1%} between tests ({1e3 * result.usual:.1f} ms each), "
                    f"{result.idle / bound:.1%} with nothing to do",
                    flush=True,
                )
        for name, options in OTHERS.items() if seed == SEEDS[0] else ():
            with fresh() as folder:
                result = run(case, workers, Path(folder), *options)
                ratios.setdefault(f"{name} and lease", []).append(result.seconds / bound)
    print(f"time over what no scheduler can beat, -n {workers}, medians of {len(SEEDS)} suites")
    goals = {"gpuguard, first run": 1.10, "gpuguard, with history": 1.05}
    for name, values in ratios.items():
        only = "" if len(values) > 1 else " (one suite)"
        met &= line(f"  {name}{only}", statistics.median(values), "", goals.get(name))
    return met


def virtual_part() -> bool:
    """Measure the scheduler in virtual time, with an answer that takes two milliseconds."""
    met = True
    print("virtual time, 20 random suites each: time over what no scheduler can beat, medians and worst")
    for workers in (8, 16, 32, 64):
        for name, goal in (("first run", 1.10), ("with history", 1.05)):
            ratios = []
            for seed in range(20):
                case = random_case(seed, workers // 4)
                suite, needs = case.suite
                known = dict(enumerate(case.seconds)) if goal == 1.05 else {}
                limits = {"pinned": case.limit}
                done = Rehearsal(suite, needs, limits, case.seconds, workers, known, delay=0.002).run()
                met &= done.peak["pinned"] <= case.limit and not done.left
                ratios.append(done.span / case.bound(workers))
            met &= line(
                f"  {workers} workers, {name}", statistics.median(ratios), f"worst {max(ratios):.3f}", goal
            )
    return met


def cpu_part() -> bool:
    """Measure the processor time of all processes, in turns, on 20,008 empty tests, eight of them a group.

    Nothing looks for leaks in them: all ways would pay the same for it, and differ less.
    """
    source = (
        "import pytest\n\n@pytest.mark.xdist_group('one')\n@pytest.mark.parametrize('n', range(8))\n"
        "def test_one(n): pass\n\n@pytest.mark.parametrize('n', range(20_000))\ndef test_it(n): pass\n"
    )
    ways = {"load": OTHERS["load"], "gpuguard": OURS, "loadgroup": OTHERS["loadgroup"]}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for name in ("load", "gpuguard", "gpuguard", "load", "load", "gpuguard", "loadgroup"):
        with fresh() as folder:
            (Path(folder) / "test_it.py").write_text(source)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--gpuguard", "--gpuguard-leaks=off"]
            subprocess.run([*command, *ways[name]], cwd=folder, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        print(f"  {name} {spent[name][-1]:.1f} s", flush=True)
    print(
        "20,008 empty tests, -n 2: processor time of all processes over that under --dist load, least of each"
    )
    least = {name: min(values) for name, values in spent.items()}
    line("  loadgroup (one run)", least["loadgroup"] / least["load"], "")
    return line("  gpuguard", least["gpuguard"] / least["load"], "", 1.10)


PARTS: dict[str, Callable[[], bool]] = {
    "case": case_part,
    **{f"random-{workers}": partial(random_part, workers) for workers in (2, 4, 8)},
    "virtual": virtual_part,
    "cpu": cpu_part,
}


def main(names: list[str]) -> int:
    """Run the parts that are named, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = [PARTS[name]() for name in names or PARTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
