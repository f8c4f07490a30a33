"""A batch over the workers of a cluster, one of which is killed with parts in hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from solver import Problem, Status, solve_batch
from tests.solver.test_one_solver import FIELDS, assert_same

distributed = pytest.importorskip("distributed", reason="dask is not installed (extra 'dask')")

RUNS = 60
RHO = np.linspace(0.5, 21.0, RUNS)[:, None]
SAVED = np.array([0.0, 0.5, 1.0])


def lorenz(t, y, p):
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


LORENZ = Problem(lorenz, 3, 1)


def high(t, y, p):
    return y[0] - 2.0


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process with one thread."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as found:
        found.wait_for_workers(2, timeout=120)
        yield found


def solve(**options):
    # Interpreted, which takes as long as a test needs it to.
    given = {"backend": "python", "saveat": SAVED, "events": high, **options}
    return solve_batch(LORENZ, (1.0, 0.0, 0.0), RHO, (0.0, 1.0), **given)


@pytest.fixture(scope="module")
def whole():
    return solve()


@pytest.mark.parametrize("part_runs", [7, 60, None])
def test_parts_make_the_whole_to_the_last_bit(client, whole, part_runs):
    seen = []
    out = np.full(whole.ys.shape, np.nan)
    progress = {"progress": lambda done, total: seen.append((done, total))}
    solution = solve(client=client, part_runs=part_runs, out=out, **progress)
    assert_same(solution, whole)
    assert solution.ys is out
    parts = {7: 9, 60: 1, None: 8}[part_runs]
    assert seen == [(done, parts) for done in range(1, parts + 1)]
    assert (solution.stats.chunks, solution.stats.steps) == (parts, whole.stats.steps)


def test_what_a_killed_worker_had_in_hand_is_solved_by_another(client, whole):
    # Asked before: nobody answers for a worker that is gone.
    killed, pids = [], client.run(os.getpid)

    def kill(done, total):
        # The first part is home and others are with both workers.
        with_parts = [worker for worker, parts in client.processing().items() if parts]
        if not killed and with_parts:
            killed.append(pids[with_parts[0]])
            os.kill(killed[0], signal.SIGKILL)

    solution = solve(client=client, part_runs=2, progress=kill)
    assert killed
    assert_same(solution, whole)
    client.wait_for_workers(2, timeout=120)
    assert killed[0] not in client.run(os.getpid, on_error="ignore").values()


def test_few_parts_are_on_the_way_at_a_time(client):
    most = 0

    def look(done, total):
        nonlocal most
        most = max(most, sum(len(parts) for parts in client.processing().values()))

    solve(client=client, part_runs=1, progress=look)
    assert 0 < most <= 4


def forget_the_peak():
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes():
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def decay(t, y, p):
    return (-p[0] * y[0],)


def growth_of_workers(client, runs, part_runs):
    """Return by how many bytes the largest resident size of any worker grew, and the bytes of the result."""
    options = {"saveat": np.linspace(0.0, 1.0, 2000), "method": "heun2", "backend": "cpu", "client": client}
    rates = np.linspace(0.1, 1.0, runs)[:, None]
    before = client.run(forget_the_peak)
    solution = solve_batch(Problem(decay, 1, 1), (1.0,), rates, (0.0, 1.0), part_runs=part_runs, **options)
    after = client.run(peak_bytes)
    return max(after[worker] - before[worker] for worker in before), solution.ys.nbytes


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory: Linux only")
def test_the_memory_of_a_worker_is_bounded_by_the_part_and_not_by_the_batch(client):
    mib = 1 << 20
    growth_of_workers(client, 400, 50)  # so that both have compiled
    grown, whole = growth_of_workers(client, 8192, 64)
    assert whole == 125 * mib
    # Two parts a thread of 1 MiB each, and copies of them on the way: less than a third of the batch.
    assert grown < 40 * mib, grown / mib
    grown, whole = growth_of_workers(client, 8192, 8192)
    assert grown > whole, "the twin: in one part, all of it is in one worker"


def test_a_run_that_fails_fails_alone(client):
    starts = np.tile((1.0, 0.0, 0.0), (RUNS, 1))
    starts[13] = np.nan
    solution = solve_batch(LORENZ, starts, RHO, (0.0, 1.0), backend="python", client=client, part_runs=10)
    assert np.flatnonzero(solution.status != Status.OK).tolist() == [13]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"result": "device"}, "come to the host"),
        ({"saveat": [0.5, 0.5]}, "saveat must increase"),
        ({"out": np.zeros((RUNS, 3, 2))}, r"out must be an array \(60, 3, 3\)"),
        ({"method": "euler"}, "no method 'euler'"),
        ({"client": None, "part_runs": 3}, "give its client"),
        ({"part_runs": 0}, "part_runs=0 makes no part"),
        ({"part_runs": -3}, "part_runs=-3 makes no part"),
    ],
)
def test_what_does_not_fit_is_said(client, options, said):
    with pytest.raises(ValueError, match=said):
        solve(**{"client": client, **options})


def test_all_fields_are_compared():
    assert set(FIELDS) | {"ts", "stats"} == set(solve().__slots__)
