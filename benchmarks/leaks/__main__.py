"""Planted leaks and clean look-alikes under every tool: ``python -m benchmarks.leaks``.

Each tool runs the same suite, serially and under ``-n 2``, in three lanes: plain Python, numba's simulator,
and numba's real host code on the fake driver. The tools live in an environment of their own, made on first
use. Exit status 1 when a row of ours is not perfect.

``--repeat 50 --load --jobs 4`` runs only this project's row again and again, beside busy processes and, with
``--jobs``, several rounds at once: most of a round is waiting, so each is the load of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.leaks.score import Score, cases, score, spoken, written
from benchmarks.leaks.tools import OURS, PACKAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.leaks.tools import Tool

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent / "suite"
WAYS = {"serial": ("-p", "no:xdist"), "-n 2": ("-n", "2")}
LANES = ("host", "simulator", "driver")
LIMIT = 600.0


class Outcome(NamedTuple):
    """One run: its score and its CPU seconds."""

    score: Score
    cpu: float


def environment() -> Path:
    """Return the Python of the benchmark's own environment, with every tool in it."""
    folder = ROOT / ".pytest_cache" / "d" / "benchmark-tools"
    python, ready = folder / "bin" / "python", folder / ".ready"
    asked = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text() != asked:
        print(f"installing {', '.join(PACKAGES)} into an environment of their own ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-q", *PACKAGES, "-e", f"{ROOT}[xdist,cuda]"]
        subprocess.run(install, check=True)
        ready.write_text(asked)
    return python


def command(python: Path, lane: str, tool: Tool, way: str, folder: Path) -> list[str]:
    """Return the command of one run."""
    fake = [str(python), "-m", "tests.fakecuda"] if lane == "driver" else []
    report = [f"--gpuguard-report={folder / 'report'}"] if tool.ours else []
    return [
        *fake,
        *(str(python), "-m", "pytest", "-q", "-p", "benchmarks.leaks.recorder", "-p", "no:cacheprovider"),
        *("-c", str(SUITE / "pytest.ini"), *WAYS[way], *tool.args, *report, str(SUITE / lane)),
    ]


def run(python: Path, lane: str, tool: Tool, way: str) -> Outcome:
    """Run one lane of the suite under one tool."""
    with tempfile.TemporaryDirectory(prefix="seeded-") as name:
        folder = Path(name)
        record = folder / "record.json"
        variables = {key: value for key, value in os.environ.items() if not key.startswith("GPUGUARD")}
        variables |= {"PYTHONPATH": str(ROOT), "SEEDED_RECORD": str(record), **tool.environment}
        variables["NUMBA_ENABLE_CUDASIM"] = "1" if lane == "simulator" else "0"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command(python, lane, tool, way, folder),
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode not in {0, 1} or not record.exists():
            what = f"{tool.name}, {lane}, {way}: exit {done.returncode} without a result"
            raise SystemExit(f"{what}\n{done.stdout}{done.stderr}")
        said = json.loads(record.read_text())
        if tool.ours:
            findings = written(json.loads((folder / "report" / "report.json").read_text()))
        else:
            findings = spoken(said["failures"])
        return Outcome(score(cases(truth(python, lane)), findings, tool.blind), cpu)


_TRUTH: dict[str, list[dict[str, Any]]] = {}


def truth(python: Path, lane: str) -> list[dict[str, Any]]:
    """Return the marks of a lane's tests, collected once and without any tool."""
    if lane not in _TRUTH:
        with tempfile.TemporaryDirectory(prefix="seeded-") as name:
            record = Path(name) / "record.json"
            variables = {**os.environ, "PYTHONPATH": str(ROOT), "SEEDED_RECORD": str(record)}
            variables["NUMBA_ENABLE_CUDASIM"] = str(int(lane == "simulator"))
            listing = [*command(python, lane, TOOLS[0], "serial", Path(name)), "--collect-only"]
            subprocess.run(listing, cwd=ROOT, env=variables, check=True, capture_output=True)
            _TRUTH[lane] = json.loads(record.read_text())["cases"]
    return _TRUTH[lane]


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep every processor busy with others for the time of a block."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def row(name: str, way: str, total: Score, ratio: float | None) -> str:
    """Return a line of the table."""
    planted = len(total.found) + len(total.missed)
    cpu = f"{ratio:.2f}" if ratio is not None else "-"
    return (
        f"| {name} | {way} | {len(total.found)} of {planted} | {len(total.false_alarms)} of {total.clean} "
        f"| {len(total.wrong)} | {cpu} |"
    )


def details(total: Score) -> Iterator[str]:
    """Yield what was wrong, a line each."""
    for title, names in (
        ("missed", total.missed),
        ("false alarm", total.false_alarms),
        ("wrong owner", total.wrong),
    ):
        yield from (f"    {title}: {name}" for name in sorted(names))


def compare(python: Path, tools: tuple[Tool, ...], lanes: list[str], ways: list[str]) -> bool:
    """Print the table; return whether every row of ours is perfect."""
    print(
        "| tool | way | found | false alarms | wrong test or owner | CPU / bare |\n|---|---|---|---|---|---|"
    )
    good, notes = True, []
    for way in ways:
        bare = None
        for tool in tools:
            total, cpu = Score(), 0.0
            for lane in lanes:
                outcome = run(python, lane, tool, way)
                total.add(outcome.score)
                cpu += outcome.cpu
            bare = bare or (cpu if tool is TOOLS[0] else None)
            print(row(tool.name, way, total, cpu / bare if bare else None), flush=True)
            if tool.ours and not total.perfect:
                notes += [f"{tool.name}, {way}:", *details(total)]
            good &= not tool.ours or total.perfect
    print("\n".join(notes))
    return good


def again(python: Path, rounds: int, lanes: list[str], ways: list[str], busy: int, jobs: int) -> bool:
    """Repeat the row with all kinds, ``jobs`` rounds at once; print what went wrong, and how often."""
    wrong: Counter[str] = Counter()
    for lane in lanes:
        truth(python, lane)

    def round_of(number: int) -> None:
        for way in ways:
            total = Score()
            for lane in lanes:
                total.add(run(python, lane, OURS[-1], way).score)
            print("\n".join([row(f"round {number}", way, total, None), *details(total)]), flush=True)
            wrong.update(f"{way}{line}" for line in details(total))

    with load(busy), ThreadPoolExecutor(jobs) as pool:
        list(pool.map(round_of, range(1, rounds + 1)))
    print("\n".join(f"{times} x {line}" for line, times in wrong.most_common()) or "perfect every time")
    return not wrong


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    parser.add_argument("--ours", action="store_true", help="only this project's rows")
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="run ours N times instead")
    parser.add_argument("--load", action="store_true", help="beside one busy process for each processor")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="repeat N rounds at once")
    parser.add_argument("--lane", choices=LANES, action="append", help="only this part of the suite")
    parser.add_argument(
        "--way", choices=list(WAYS), action="append", help="only serially, or only under -n 2"
    )
    given = parser.parse_args()
    python = environment()
    lanes, ways = given.lane or list(LANES), given.way or list(WAYS)
    if given.repeat:
        busy = (os.cpu_count() or 1) * given.load
        return 0 if again(python, given.repeat, lanes, ways, busy, given.jobs) else 1
    return 0 if compare(python, OURS if given.ours else TOOLS, lanes, ways) else 1


if __name__ == "__main__":
    sys.exit(main())
