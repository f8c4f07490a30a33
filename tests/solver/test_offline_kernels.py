"""The kernels compile to machine code without a device: registers, spills, no double precision in float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver.numerics.recipe import Recipe
from solver.offline import Compiled, complaints, matrix
from solver.offline.table import put
from tests.solver.reference_problems import lorenz

ROOT = Path(__file__).parents[2]
# The simulator is chosen when numba is first imported, so compilation needs a process of its own.
REAL = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
REAL["PYTHONPATH"] = str(ROOT)

PLANT = """
import json, sys
import numpy as np
from dataclasses import asdict
from solver.numerics.recipe import Recipe
from solver.offline import compile_kernel, complaints, unavailable

def leaky(t, y, p):
    return (np.float64(y[0]) * y[0] + np.float64(t),)

if unavailable():
    sys.exit(3)
recipe = Recipe(leaky, 1, 0, dtype=np.float32)
for result in compile_kernel("leaky", recipe, ((8, 0),)):
    print(json.dumps(asdict(result) | {"complaints": complaints(result, recipe)}))
"""
SOUND = Compiled("tsit5 f32 n=3", "sm_80", 53, 0, 0, 0, 0, 0, 32_000, 1.0)
LORENZ = Recipe(lorenz, 3, 1, dtype=np.float32)


def run(command, environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
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


def test_kernels_compile_for_every_architecture_and_are_as_asked(kernels):
    """The command itself fails when one spills, calls, has doubles in float32 or too many registers."""
    assert {record["capability"] for record in kernels} == {f"sm_{cc}" for cc in (75, 80, 86, 90, 100, 120)}
    assert all(record["cubin"] > 1000 for record in kernels)


@pytest.mark.parametrize(("kernel", "limit"), [("tsit5 f32 n=3", 56), ("tsit5 f64 n=3", 90)])
def test_registers_stay_within_what_occupancy_needs(kernels, kernel, limit):
    used = {r["capability"]: r["registers"] for r in kernels if r["kernel"] == kernel}
    assert max(used.values()) <= limit, used


def test_a_right_hand_side_that_asks_for_double_precision_is_noticed(tmp_path):
    plant = tmp_path / "plant.py"
    plant.write_text(PLANT)
    (record,) = compiled(str(plant))
    assert record["doubles"] > 0
    assert any("double-precision" in complaint for complaint in record["complaints"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"registers": 57}, "57 registers, at most 56"),
        ({"spill_stores": 8, "spill_loads": 4}, "12 bytes spilled"),
        ({"calls": 1}, "1 calls"),
        ({"stack": 40}, "40 bytes of stack"),
        ({"doubles": 2}, "2 double-precision"),
    ],
)
def test_each_defect_has_its_complaint_and_a_sound_kernel_none(change, said):
    assert complaints(SOUND, LORENZ) == []
    (complaint,) = complaints(replace(SOUND, **change), LORENZ)
    assert complaint.startswith(said)


def test_what_a_looped_or_double_kernel_may_have():
    assert complaints(replace(SOUND, stack=672), Recipe(lorenz, 3, 1, "rodas4")) == []
    assert complaints(replace(SOUND, doubles=300), Recipe(lorenz, 3, 1)) == []


def test_the_table_goes_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kernels -->\nold\n<!-- end of kernels -->\nafter\n")
    put([SOUND, replace(SOUND, capability="sm_90", registers=51), replace(SOUND, kernel="other")], page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert "| tsit5 f32 n=3 | 51 to 53 | 0 | 0 | 0 | 0 | 31 |" in lines


def test_the_table_in_the_docs_has_every_kernel():
    page = (ROOT / "docs/reference/kernels.md").read_text()
    names = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if " n=" in line]
    assert names == [name for name, _ in matrix()]


@pytest.mark.soak
def test_the_whole_matrix():
    compiled("-m", "solver.offline", "--json")


def test_in_the_simulator_the_command_says_why_it_cannot():
    done = run(["-m", "solver.offline"], REAL | {"NUMBA_ENABLE_CUDASIM": "1"})
    assert done.returncode == 3
    assert "NUMBA_ENABLE_CUDASIM" in done.stderr
