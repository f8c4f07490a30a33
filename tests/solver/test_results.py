"""Where results go, what a solve says about itself, and who is told meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solver import Chunks, Depth, DeviceResult, MemoryManager, Rates, SolverClosedError
from solver.devices.virtual import Latency, VirtualDevice
from solver.pipeline.arrays import ManagedArray
from solver.pipeline.bound import wanted_chunks
from tests.solver.problems import OneRegionHost, decay_solver, solve_decay

ROOT = Path(__file__).parents[2]
SAVED = (0.5, 1.0)


@pytest.fixture(scope="module")
def right():
    with decay_solver() as solver:
        return solve_decay(solver, SAVED).ys


@pytest.mark.parametrize("chunks", [1, 3, 8])
@pytest.mark.parametrize(
    "axes", [(2, 0, 1), (0, 1, 2), (1, 2, 0)], ids=["run last", "run first", "run between"]
)
def test_results_go_into_an_array_of_any_strides(right, axes, chunks):
    shape = [0, 0, 0]
    for axis, size in zip(axes, (8, 2, 2), strict=True):
        shape[axis] = size
    out = np.full(shape, np.nan).transpose(axes)
    assert out.shape == right.shape
    with decay_solver(memory_limit=Chunks(chunks)) as solver:
        solution = solve_decay(solver, SAVED, out=out)
    assert solution.ys is out
    np.testing.assert_array_equal(out, right)


def test_every_second_run_of_a_larger_array_can_be_the_target(right):
    large = np.full((16, 2, 2), -1.0)
    with decay_solver(memory_limit=Chunks(3)) as solver:
        solve_decay(solver, SAVED, out=large[::2])
    np.testing.assert_array_equal(large[::2], right)
    assert (large[1::2] == -1.0).all()


def read_only():
    array = np.zeros((8, 2, 2))
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": np.zeros((8, 2, 3))}, r"writable array \(8, 2, 2\) of float64; got \(8, 2, 3\)"),
        ({"out": np.zeros((8, 2, 2), np.float32)}, "got .* of float32"),
        ({"out": read_only()}, "read-only"),
        ({"result": "disk"}, "result must be 'host' or"),
        ({"result": "device", "out": np.zeros((8, 2, 2))}, "without out="),
    ],
)
def test_targets_that_do_not_fit_are_named(options, said):
    with decay_solver() as solver, pytest.raises(ValueError, match=said):
        solve_decay(solver, SAVED, **options)


def test_results_stay_on_the_device_and_outlive_the_solver(right):
    with decay_solver() as solver:
        solution = solve_decay(solver, SAVED, result="device")
        again = solve_decay(solver, SAVED)
    assert isinstance(solution.ys, DeviceResult)
    assert (solution.ys.shape, solution.ys.nbytes) == (right.shape, right.nbytes)
    np.testing.assert_array_equal(solution.ys.copy_to_host(), right)
    np.testing.assert_array_equal(again.ys, right)
    assert not solution.status.any()
    # Not even a staging buffer for them is pinned.
    assert solution.stats.pinned_bytes == 8 * (8 * 2 + 8 * 1) + (8 + 3 * 4) * 8


@pytest.mark.parametrize(("limit", "said"), [(300, "but 300 are free"), (Chunks(2), "is to be cut into 2")])
def test_results_that_do_not_fit_on_the_device_are_refused(limit, said):
    with decay_solver(memory_limit=limit) as solver, pytest.raises(MemoryError, match=said):
        solve_decay(solver, SAVED, result="device")


def test_one_chunk_by_request_may_stay(right):
    with decay_solver(memory_limit=Chunks(1)) as solver:
        np.testing.assert_array_equal(solve_decay(solver, SAVED, result="device").ys.copy_to_host(), right)


def test_pages_of_a_fresh_array_are_all_made_and_only_those_of_the_part():
    host = np.full((3, 2000), 7.0)
    ManagedArray("ys", host, 1000, fresh=True).make_pages((300, 1400))
    assert (host[:, :300] == 7.0).all()
    assert (host[:, 1400:] == 7.0).all()
    for row in host:
        # Wherever the page begins: no 4096 bytes in a row without a write, up to the last byte.
        written = np.flatnonzero(row == 0.0)
        assert (written[0], written[-1]) == (300, 1399)
        assert np.diff(written).max() * 8 <= 4096
    ManagedArray("ys", host, 1000).make_pages((0, 2000))
    assert (host[:, 0] == 7.0).all()


def test_memory_of_a_caller_is_not_touched_before_the_results_are_there():
    out = np.full((8, 1, 2), 5.0)

    def look(done, total):
        assert done or (out == 5.0).all()

    device = VirtualDevice(Latency(run=0.02))
    with decay_solver(memory_limit=Chunks(2), backend=device) as solver:
        solve_decay(solver, out=out, progress=look)
    assert (out != 5.0).all()


def test_a_solver_says_what_it_took():
    with decay_solver(memory_limit=Chunks(4), sets=2, copies=3, writers=2) as solver:
        assert solver.stats is None
        stats = solve_decay(solver, SAVED).stats
        assert solver.stats is stats
    assert (stats.chunks, stats.chunk_runs, stats.depth) == (4, 2, Depth(2, 3, 2))
    inputs, outputs = 8 * (2 + 1) * 2, (8 * 2 * 2 + 8 + 3 * 4) * 2
    shared = 8 * (2 + 2)
    assert stats.pinned_bytes == 2 * inputs + 3 * outputs
    assert stats.device_bytes == shared + 2 * (inputs + outputs)
    # Two uploads and four downloads a chunk, of 0.2 ms each, and what the host takes to queue them.
    assert 3.999e-4 < stats.stages.upload < 0.1
    assert 7.999e-4 < stats.stages.download < 0.1
    assert 0.0 < stats.overlap <= 1.01
    assert 0.0 < stats.pipeline_seconds <= stats.seconds


def test_more_chunks_than_memory_asks_for_where_that_is_faster():
    # A bus so slow that 8 runs are worth cutting.
    device = VirtualDevice(
        Latency(0, 0, 0), rates=Rates(upload=1e4, download=1e4, writeback=1e4, overhead=1e-3)
    )
    with decay_solver(backend=device) as solver:
        assert solve_decay(solver).stats.chunks > 1
    busy = VirtualDevice(
        Latency(0, 0, 0), rates=Rates(upload=1e4, download=1e4, writeback=1e4, overhead=1e-3, least_runs=4)
    )
    with decay_solver(backend=busy) as solver:
        assert solve_decay(solver).stats.chunks == 2


def test_the_best_number_of_chunks_is_the_root_of_gain_over_cost():
    # A - B = 0.2 s of upload, o = 0.1 ms.
    rates = Rates(upload=1e9, download=1e12, writeback=1e9, overhead=1e-4)
    assert wanted_chunks(rates, 10**6, 2 * 10**8, 10**9) == 45
    # Kept busy by no fewer than a tenth of the runs; but a pinned buffer is never larger than wanted.
    assert wanted_chunks(Rates(1e9, 1e12, 1e9, 1e-4, 10**5), 10**6, 2 * 10**8, 6 * 10**8) == 10
    assert wanted_chunks(Rates(1e9, 1e12, 1e9, 1e-4, 10**5, 10**6), 10**6, 2 * 10**8, 10**9) == 1000
    assert wanted_chunks(rates, 3, 2 * 10**8, 10**9) == 3
    assert wanted_chunks(Rates(), 8, 200, 200) == 1


def test_progress_goes_up_to_all_chunks():
    seen = []
    with decay_solver(memory_limit=Chunks(4)) as solver:
        solve_decay(solver, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (4, 4)
    assert {total for _, total in seen} == {4}


def test_closing_from_a_progress_function_is_refused_and_ends_the_solve():
    with decay_solver(memory_limit=Chunks(4)) as solver:
        with pytest.raises(Exception, match=r"close\(\) was called inside of solve\(\)"):
            solve_decay(solver, progress=lambda done, total: solver.close())
        with pytest.raises(SolverClosedError):
            solve_decay(solver)


@pytest.mark.parametrize(("ci", "shown"), [("", True), ("true", False)])
def test_a_bar_is_shown_but_not_under_ci(monkeypatch, capsys, ci, shown):
    tqdm = pytest.importorskip("tqdm")
    monkeypatch.setenv("CI", ci)
    with decay_solver(memory_limit=Chunks(4)) as solver:
        solve_decay(solver, progress=True)
    assert ("4/4" in capsys.readouterr().err) is shown
    # Its monitor would be a thread that outlives the solve.
    assert tqdm.tqdm.monitor is None


def test_without_tqdm_a_bar_says_what_to_install(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with decay_solver() as solver, pytest.raises(ModuleNotFoundError, match="pip install tqdm"):
        solve_decay(solver, progress=True)


def test_peaks_of_memory_are_remembered_after_it_is_free():
    memory = MemoryManager(pinned=OneRegionHost())
    with decay_solver(memory=memory) as solver:
        solve_decay(solver)
    assert memory.registry.held("pinned") == memory.registry.held("device") == 0
    pinned = 8 * (8 * 3 + 16) + (8 + 3 * 4) * 8
    assert memory.registry.peak("pinned") == pinned
    assert memory.registry.peak("device") == pinned + 8 * 2


@pytest.mark.parametrize("backend", ["sim", "auto"])
def test_the_example_prints_a_table(backend):
    command = [sys.executable, "-m", "solver", "--backend", backend, "--runs", "8", "--chunks", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0] == ["rho", "x", "y", "z", "steps"]
    assert len(table) == 10
    # 42-digit Taylor, rho = 0.5 and 21, t = 1; global errors are some hundred tolerances.
    assert [float(x) for x in table[1][1:4]] == pytest.approx([0.0324364, 0.0308674, 0.0006716], abs=2e-4)
    assert [float(x) for x in table[8][1:4]] == pytest.approx([-6.4505791, -8.8952115, 14.6491459], abs=2e-3)
    assert "in 3 chunks of at most 3" in done.stdout
    assert "8 OK" in done.stdout
