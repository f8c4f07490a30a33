"""The kernels compile to machine code without a device: registers, spills, no double precision in float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The simulator is chosen when numba is first imported, so compilation needs a process of its own.
REAL = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
REAL["PYTHONPATH"] = str(ROOT)

PLANT = """
import json
import numpy as np
from dataclasses import asdict
from solver.offline import compile_kernel
from solver.numerics.recipe import Recipe

def leaky(t, y, p):
    return (np.float64(y[0]) * y[0] + np.float64(t),)

from solver.offline import unavailable
if unavailable():
    raise SystemExit(3)
for result in compile_kernel("leaky", Recipe(leaky, 1, 0, dtype=np.float32), ((8, 0),)):
    print(json.dumps(asdict(result)))
"""


def run(command, environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def compiled(*command):
    """Return the records printed by ``command``; skip with the reason when nothing can be compiled here."""
    done = run(command, REAL)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def kernels():
    only = r"tsit5 (f64|f32) n=3$|f32 n=3 points event"
    found = compiled("-m", "solver.offline", "--json", "--only", only)
    assert len({record["kernel"] for record in found}) == 3
    return found


def assert_sound(records):
    for record in records:
        assert record["spill_stores"] == record["spill_loads"] == 0, record
        assert record["calls"] == 0, record
        assert record["cubin"] > 1000, record
        if " f32 " in record["kernel"]:
            assert record["doubles"] == 0, record
        if "rodas4" not in record["kernel"] and "n=12" not in record["kernel"]:
            assert record["stack"] == 0, record


def test_kernels_compile_for_every_architecture_without_spills_or_double_precision(kernels):
    assert {record["capability"] for record in kernels} == {f"sm_{cc}" for cc in (75, 80, 86, 90, 100, 120)}
    assert_sound(kernels)


@pytest.mark.parametrize(("kernel", "limit"), [("tsit5 f32 n=3", 56), ("tsit5 f64 n=3", 90)])
def test_registers_stay_within_what_occupancy_needs(kernels, kernel, limit):
    used = {r["capability"]: r["registers"] for r in kernels if r["kernel"] == kernel}
    assert max(used.values()) <= limit, used


def test_a_right_hand_side_that_asks_for_double_precision_is_noticed(tmp_path):
    plant = tmp_path / "plant.py"
    plant.write_text(PLANT)
    (record,) = compiled(str(plant))
    assert record["doubles"] > 0


@pytest.mark.soak
def test_the_whole_matrix():
    assert_sound(compiled("-m", "solver.offline", "--json"))


def test_in_the_simulator_the_command_says_why_it_cannot():
    done = run(["-m", "solver.offline"], REAL | {"NUMBA_ENABLE_CUDASIM": "1"})
    assert done.returncode == 3
    assert "NUMBA_ENABLE_CUDASIM" in done.stderr
