"""What watching costs: ``python -m benchmarks.overhead``.

CPU seconds of whole runs (children included) as a ratio to the same run without the plugin: 10,000 trivial
tests, and a suite in numba's simulator that starts 20,000 block threads. Configurations take turns, and the
smallest of at least seven runs of each counts: on a busy machine single pairs differ by far more than what is
to be measured, minima hardly do. One full pass of Python's collector is above one per cent of the smaller
suite, and whether the last one falls just before or just behind its end hangs on the number of objects that
happen to be there. So each run begins with the collector half way to its next full pass, and each round with
another number of objects.

Runs are kept, so that rounds can be added: ``--rounds 2`` again and again; ``--new`` forgets them.
Exit status 1 when a goal was missed.

``--in-place`` tells instead what one trivial test takes in the middle of a run, from its begin to that of the
next one: the quarter of them that is fastest, and the smallest of all rounds. What starts and ends a run is
not in it, nor passes of the collector, nor whatever else the machine does now and then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".pytest_cache" / "d" / "overhead.json"
BYTECODE = ROOT / ".pytest_cache" / "d" / "overhead-bytecode"
ENOUGH = 7

TRIVIAL = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_trivial(n):
    pass
"""

SIMULATED = """
import numpy as np
import pytest
from numba import cuda

@cuda.jit
def add_one(values):
    i = cuda.grid(1)
    if i < values.size:
        values[i] += 1

@pytest.mark.parametrize("n", range(40))
def test_launch(n):
    values = cuda.to_device(np.zeros(500))
    add_one[5, 100](values)
    assert values.copy_to_host().sum() == 500
"""


#: Stands beside the suites, and is loaded before anything is watched.
CONFTEST = """
import gc, os

kept = [[] for _ in range(int(os.environ["OVERHEAD_OBJECTS"]))]
for _ in range(gc.get_threshold()[2] // 2):
    gc.collect(1)
"""
#: New objects between two passes over the middle generation, and a part of them that does not divide it.
_PASS, _STEP = 7_000, 611

#: Follows that where single tests are timed: the quartile in microseconds goes into a file.
CLOCK = """
import time, pytest

begins = []

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol():
    begins.append(time.perf_counter_ns())

def pytest_unconfigure():
    took = sorted(later - begin for begin, later in zip(begins, begins[1:]))
    with open(os.environ["OVERHEAD_TOOK"], "w") as file:
        file.write(str(took[len(took) // 4] / 1000))
"""


class Way(NamedTuple):
    """One configuration: the suite, the arguments, the run it is compared with and the goal for the ratio.

    What is compared with nothing runs without the plugin.
    """

    suite: str
    args: tuple[str, ...] = ()
    base: str | None = None
    goal: float | None = None


WAYS = {
    "bare": Way("trivial"),
    "installed, not active": Way("trivial", (), "bare", 1.01),
    "default kinds": Way("trivial", ("--gpuguard",), "bare", 1.05),
    "all kinds": Way("trivial", ("--gpuguard", "--gpuguard-leak-kinds=all"), "bare", 1.10),
    "simulator, bare": Way("simulated"),
    "simulator, default kinds": Way("simulated", ("--gpuguard",), "simulator, bare", 1.05),
}


def cpu_of(way: Way, folder: Path, turn: int) -> float:
    """Return the CPU seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(way, folder, turn)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def microseconds_of(way: Way, folder: Path, turn: int) -> float:
    """Return what one test takes in the middle of a run."""
    run(way, folder, turn)
    return float((folder / "took").read_text())


def run(way: Way, folder: Path, turn: int) -> None:
    """Run a suite once, in an environment where nothing else is switched on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPUGUARD", "PYTEST"))}
    variables = kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    if way.base is not None:
        # Not by -p: to find that, pytest goes through all that is installed, as it does for the bare run of
        # whoever has any plugin.
        variables["PYTEST_PLUGINS"] = "pytest_gpuguard.plugin"
    variables["NUMBA_ENABLE_CUDASIM"] = "1"
    variables["OVERHEAD_OBJECTS"] = str(turn * _STEP % _PASS)
    variables["OVERHEAD_TOOK"] = str(folder / "took")
    # As it is with installed packages: nothing is compiled anew in each run.
    variables["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-q", *way.args, f"test_{way.suite}.py"]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


@contextlib.contextmanager
def suites(count: int, conftest: str = CONFTEST) -> Iterator[Path]:
    """Yield a folder with both suites, for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as place:
        folder = Path(place)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_trivial.py").write_text(TRIVIAL.format(count=count))
        (folder / "test_simulated.py").write_text(SIMULATED)
        (folder / "conftest.py").write_text(conftest)
        yield folder


def rounds(number: int, count: int, names: list[str]) -> dict[str, list[float]]:
    """Run every configuration ``number`` times in turn; return all runs so far."""
    runs: dict[str, list[float]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    with suites(count) as folder:
        for _ in range(number):
            for name in names:
                done = runs.setdefault(name, [])
                done.append(cpu_of(WAYS[name], folder, len(done)))
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            KEPT.write_text(json.dumps(runs))
    return runs


def in_place(number: int, count: int, names: list[str]) -> None:
    """Print what one trivial test takes, in ``number`` rounds."""
    chosen = [name for name in names if WAYS[name].suite == "trivial"]
    took: dict[str, list[float]] = {name: [] for name in chosen}
    with suites(count, CONFTEST + CLOCK) as folder:
        for turn in range(number):
            for name in chosen:
                took[name].append(microseconds_of(WAYS[name], folder, turn))
    print("| run | microseconds a test | more than bare |\n|---|---|---|")
    for name in chosen:
        more = f"{min(took[name]) - min(took['bare']):+.1f}" if "bare" in took else "-"
        print(f"| {name} | {min(took[name]):.1f} | {more} |")


def table(runs: dict[str, list[float]]) -> bool:
    """Print ratios of minima; return whether every goal is met."""
    good = True
    print("| run | smallest CPU | of runs | ratio | of medians | goal |\n|---|---|---|---|---|---|")
    for name, way in WAYS.items():
        if name not in runs:
            continue
        best, base = min(runs[name]), runs.get(way.base or "")
        shown = "- | - | -"
        if base:
            ratio, medians = best / min(base), statistics.median(runs[name]) / statistics.median(base)
            shown = f"{ratio:.3f} | {medians:.3f} | {way.goal:.2f}"
            good &= way.goal is None or ratio <= way.goal
        print(f"| {name} | {best:.2f} s | {len(runs[name])} | {shown} |")
    if min(map(len, runs.values())) < ENOUGH:
        print(f"fewer than {ENOUGH} runs of each: say nothing with this yet")
    return good


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ENOUGH, metavar="N", help="rounds to add")
    parser.add_argument("--tests", type=int, default=10_000, metavar="N", help="trivial tests")
    parser.add_argument("--only", choices=list(WAYS), action="append", help="only this configuration")
    parser.add_argument("--new", action="store_true", help="forget what was measured before")
    parser.add_argument("--in-place", action="store_true", help="time single tests in the middle of a run")
    given = parser.parse_args()
    names = given.only or list(WAYS)
    if given.in_place:
        in_place(given.rounds, given.tests, names)
        return 0
    if given.new:
        KEPT.unlink(missing_ok=True)
    return 0 if table(rounds(given.rounds, given.tests, names)) else 1


if __name__ == "__main__":
    sys.exit(main())
