"""What can happen in a run, as small suites: each is really run by ``python -m tests.golden.record``."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SITUATIONS", "Situation"]

WATCHER = """
import threading

class WritebackWatcher:
    def __init__(self, fails=False):
        self.fails, self.over = fails, threading.Event()

    def start(self):
        threading.Thread(target=self._run, name="writeback", daemon=True).start()
        return self

    def _run(self):
        if self.fails:
            raise TypeError("unsupported operand type(s) for +: 'NoneType' and 'int'")
        self.over.wait()

    def wait_all(self):
        self.over.wait()

    def shutdown(self):
        self.over.set()
"""

LEAKY = """
import pytest
from watcher import WritebackWatcher

@pytest.fixture
def solver():
    return WritebackWatcher().start()

@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_shape(solver, dtype): pass

def test_clean(): pass
"""

EVERYTHING = """
import os
import threading
import time
import pytest
from watcher import WritebackWatcher

@pytest.fixture
def chunked_solved_solver():
    return WritebackWatcher().start()
@pytest.fixture(scope="module")
def pool():
    yield WritebackWatcher().start()
@pytest.mark.gpu(pinned="700 MiB")
@pytest.mark.parametrize("n", range(6))
def test_big(n): time.sleep(.25)
@pytest.mark.gpu(pinned="200 MiB")
@pytest.mark.parametrize("n", range(12))
def test_small(n): time.sleep(.1)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_shape(chunked_solved_solver, dtype): pass
def test_pool(pool): pass
def test_fails(): assert 0
def test_skips(): pytest.skip("no device")
@pytest.mark.gpu(pinned="900 MiB")
@pytest.mark.parametrize("n", range(5))
def test_holds_long(n): time.sleep(2.5)
def test_dies():
    def work(): raise TypeError("unsupported operand")
    t = threading.Thread(target=work); t.start(); threading.Event().wait()
def test_stalls():
    threading.Event().wait()
def test_crash(): os._exit(3)
"""


@dataclass(frozen=True)
class Situation:
    """One run.

    Attributes
    ----------
    suite
        Source of its test module.
    args
        Beside the plugin's usual ones.
    accept
        Accept the leaks of a first run, each so many times; the run that counts is the second one.
    then
        Source of the module in that second run, where it is another.
    kill
        Kill the process that sums up when this file is there; the record is what the journals say.
    """

    suite: str
    args: tuple[str, ...] = ("-p", "no:xdist")
    accept: int | None = None
    then: str | None = None
    kill: str = ""
    environment: dict[str, str] = field(default_factory=dict)


_TWO = ("-n", "2", "--gpuguard-budget=pinned=1GiB")

SITUATIONS = {
    "clean": Situation("def test_one(): pass\ndef test_two(): pass"),
    "leak": Situation(LEAKY),
    "leak-of-a-module": Situation(
        """
import pytest
from watcher import WritebackWatcher

@pytest.fixture(scope="module")
def pool():
    yield WritebackWatcher().start()

def test_one(pool): pass
def test_two(pool): pass
""",
        ("-p", "no:xdist", "--gpuguard-leaks=error"),
    ),
    "leak-of-a-buffer": Situation(
        """
import numba.cuda
import numpy
import pytest

KEPT = []

@pytest.fixture
def staging():
    KEPT.append(numba.cuda.pinned_array(4 << 20, dtype=numpy.uint8))
    return KEPT[-1]

@pytest.mark.parametrize("n", range(3))
def test_stage(staging, n): pass
""",
        environment={"NUMBA_ENABLE_CUDASIM": "1"},
    ),
    "reaped": Situation(LEAKY, ("-p", "no:xdist", "--gpuguard-reap")),
    "known": Situation(LEAKY, accept=2),
    "worse": Situation(LEAKY, ("-p", "no:xdist", "--gpuguard-leaks=error"), accept=1),
    "gone": Situation(
        LEAKY,
        accept=2,
        then=LEAKY.replace(
            "return WritebackWatcher().start()",
            "watcher = WritebackWatcher().start(); yield; watcher.shutdown()",
        ),
    ),
    "marked": Situation(
        LEAKY.replace(
            "@pytest.mark.parametrize",
            "@pytest.mark.known_leak(reason='upstream', issue='#9123')\n@pytest.mark.parametrize",
        )
    ),
    "many": Situation(
        "import pytest\nfrom watcher import WritebackWatcher\n"
        + "\n".join(
            f"@pytest.fixture\ndef solver_{n}():\n    return WritebackWatcher().start()\n"
            f"def test_number_{n}(solver_{n}): pass"
            for n in range(7)
        )
    ),
    "dead-thread": Situation(
        """
from watcher import WritebackWatcher

def test_waits_for_the_dead():
    WritebackWatcher(fails=True).start().wait_all()
"""
    ),
    "ended": Situation(
        """
from watcher import WritebackWatcher

def test_makes_no_progress():
    WritebackWatcher().wait_all()
""",
        ("-p", "no:xdist", "--gpuguard-stall=0.5s", "--gpuguard-stall-end=1s"),
    ),
    "slow": Situation(
        "import time\ndef test_sleeps(): time.sleep(1.5)", ("-p", "no:xdist", "--gpuguard-stall=0.5s")
    ),
    "waits": Situation(
        """
import time
import pytest

@pytest.mark.gpu(pinned="700 MiB")
@pytest.mark.parametrize("n", range(4))
def test_large(n): time.sleep(0.3)
""",
        _TWO,
    ),
    "lease-timeout": Situation(
        """
import time
from pathlib import Path
import pytest

@pytest.mark.gpu(pinned="700 MiB")
@pytest.mark.parametrize("n", range(2))
def test_large(n):
    time.sleep(4)
""",
        (*_TWO, "--gpuguard-wait=1s"),
    ),
    "lease-deadlock": Situation(
        """
import time
from pathlib import Path
import pytest

@pytest.mark.gpu(resources={"left": 1})
@pytest.mark.parametrize("n", range(2))
def test_takes_more(gpu_lease, n):
    with gpu_lease(pinned="600 MiB"):
        Path(f"holds-{n}").touch()
        end = time.monotonic() + 30
        while not Path(f"holds-{1 - n}").exists() and time.monotonic() < end:
            time.sleep(0.02)
        with gpu_lease(pinned="500 MiB"):
            pass
""",
        ("-n", "2", "--gpuguard-budget=pinned=1200MiB,left=2"),
    ),
    "crash": Situation(
        """
import os
import pytest
from watcher import WritebackWatcher

@pytest.mark.parametrize("n", range(3))
def test_leaks(n): WritebackWatcher().start()

def test_crashes(): os._exit(3)
""",
        ("-n", "2"),
    ),
    "cut-off": Situation(
        LEAKY
        + """
def test_goes_on():
    import time
    from pathlib import Path
    Path("reached").touch()
    time.sleep(60)
""",
        kill="reached",
    ),
    "interrupted": Situation(
        LEAKY + "\ndef test_ctrl_c():\n    raise KeyboardInterrupt\ndef test_never(): pass"
    ),
    "everything": Situation(
        EVERYTHING,
        (
            *("-n", "3", "--gpuguard-budget=pinned=1GiB", "--gpuguard-wait=1500ms"),
            *("--gpuguard-stall=0.8s", "--gpuguard-stall-end=3s"),
        ),
    ),
    "switched-off": Situation(LEAKY, ("-p", "no:xdist", "--gpuguard-leaks=off")),
}
