"""A run of 20,000 tests as record and page: seconds of CPU, and bytes.

    python benchmarks/report.py [TESTS]

The record is made up, in the proportions of a large suite: sixteen workers, node ids of 80 characters, one
test in fifty fails, one in a hundred leaks, one in twenty waits for its lease.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_gpuguard.report.build import build, encode
from pytest_gpuguard.report.gathered import Gathered
from pytest_gpuguard.report.html import page
from pytest_gpuguard.report.model import Run, RunReport, Setting
from tests.browser.devtools import Browser, find_chromium

__all__ = ["large_run"]

_WORKERS = 16
_DTYPES = ("float32", "float64", "complex64", "complex128")


def _leak(number: int, worker: str, nodeid: str, at: float) -> dict[str, object]:
    place = number // 100 % 40
    frames = [
        {"file": "tests/conftest.py", "line": 10 + place, "function": f"solver_{place}", "role": "fixture"},
        {"file": "solver/pipeline.py", "line": 212, "function": "Pipeline.__init__", "role": "app"},
        {"file": "solver/staging.py", "line": 88, "function": "PinnedPool.acquire", "role": "app"},
    ]
    return {
        "id": f"{worker}-{number}",
        "kind": "pinned",
        "code": "GPG201",
        "title": "pinned buffer",
        "what": "pinned buffer",
        "nbytes": 1 << 20,
        "worker": worker,
        "pid": 100,
        "origin": {"nodeid": nodeid, "phase": "setup", "fixture": None, "certainty": "exact"},
        "judged_at": "function",
        "judged_node": nodeid,
        "created_at": at,
        "found_at": at,
        "settled_for_s": 2.0,
        "verified": True,
        "keeper": "PinnedPool",
        "closing": "close",
        "created": frames,
        "subject": {"kind": "pinned", "allocator": "numba.cuda.pinned_array"},
    }


def gather(tests: int) -> Gathered:
    """Return what the processes of such a run would have sent."""
    chance, gathered, now = random.Random(7), Gathered(), [0.0] * _WORKERS
    gathered.limits = {"pinned": 2 << 30}
    for number in range(tests):
        lane = min(range(_WORKERS), key=now.__getitem__)
        worker, begun = f"gw{lane}", now[lane]
        name = f"test_matches_reference[{_DTYPES[number % 4]}-{number % 512}-chunked-{number}]"
        nodeid = f"tests/solver/test_module_{number % 120:03}.py::{name}"
        if number % 20 == 0:
            begun += chance.random()
            wait = {"nodeid": nodeid, "worker": worker, "amounts": {"pinned": 64 << 20}, "from": now[lane]}
            wait |= {"to": begun, "end": "granted", "blocked_by": [f"gw{(lane + 1) % _WORKERS} {nodeid}"]}
            gathered.add({"waits": [wait]})
            gathered.add({"levels": [[worker, "pinned", begun, 64 << 20]]})
        end = begun + chance.expovariate(4.0)
        facts = {"reserved": {"pinned": 64 << 20}} if number % 20 == 0 else {}
        outcome = "failed" if number % 50 == 7 else "passed"
        span = gathered.add_phase(nodeid, worker, begun, end, outcome, facts)
        if number % 20 == 0:
            gathered.add({"levels": [[worker, "pinned", end, 0]]})
        if number % 100 == 3:
            leaks = gathered.add({"leaks": [_leak(number, worker, nodeid, end)]})
            span.leak_ids += tuple(leak.id for leak in leaks)
        gathered.add_process({"id": worker, "pid": 1000 + lane})
        now[lane] = end
    return gathered


def large_run(tests: int = 20_000) -> RunReport:
    """Return the record of such a run."""
    run = Run("bench", "2026-11-02T12:00:00+00:00", tests / 60, ["tests"], "3.13.2", "linux", 1)
    return build(gather(tests), run, {"leaks": Setting("report", "default")})


def main(tests: int = 20_000) -> None:
    """Print the figures."""
    report = large_run(tests)
    begun = time.process_time()
    encoded = msgspec.json.format(encode(report), indent=1)
    middle = time.process_time()
    text = page(report)
    end = time.process_time()
    print(f"{tests} tests, {report.verdict.leaks} groups of leaks, {report.verdict.waits} waits")
    print(f"report.json  {middle - begun:6.2f} s of CPU  {len(encoded) / 1e6:6.2f} MB")
    print(f"index.html   {end - middle:6.2f} s of CPU  {len(text.encode()) / 1e6:6.2f} MB")
    print(f"both         {end - begun:6.2f} s of CPU")
    _in_a_browser(text)


#: Milliseconds until the table is there again after the words were typed.
_FILTERED = """
(() => {
  const input = document.querySelector(".filter input"), begun = performance.now();
  input.value = "complex64 gw7";
  input.dispatchEvent(new Event("input"));
  document.body.offsetHeight;
  return performance.now() - begun;
})()
"""
#: Milliseconds of each stretch since the page was opened in which it answered nobody.
_PAUSES = """
new Promise(done => new PerformanceObserver(list => done(list.getEntries().map(entry => entry.duration)))
  .observe({ type: "longtask", buffered: true }))
"""


def _in_a_browser(text: str) -> None:
    """Print how long a Chromium pauses over the page, if there is one."""
    chromium = find_chromium()
    if chromium is None:
        print("no chromium on PATH: the page was not opened")
        return
    with tempfile.TemporaryDirectory() as folder, Browser(chromium) as browser:
        path = Path(folder) / "index.html"
        path.write_text(text)
        browser.view(1240, 900)
        browser.open(path)
        cold = browser.run(_FILTERED)
        time.sleep(2)  # by now the texts are read
        warm = browser.run(_FILTERED)
        pauses = sorted(browser.run(_PAUSES), reverse=True)
    print(f"filter       {cold:6.0f} ms at once, {warm:.0f} ms later")
    print(f"pauses       {', '.join(f'{pause:.0f}' for pause in pauses[:5]) or 'none'} ms (of 50 and more)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
