"""Pipelines whose device program is a plain function: stages that take as long as they are told to."""

from __future__ import annotations

import numpy as np

from solver import Chunks, Depth, MemoryManager, WritebackWatcher
from solver.devices.virtual import Latency, VirtualDevice
from solver.pipeline.batch_kernel import BatchKernel
from solver.pipeline.work import Work

__all__ = ["double", "doubling", "expected", "make_kernel", "makespan"]


class PlainKernel:
    """A function where a compiled kernel is wanted: the virtual device calls it without the simulator."""

    def __init__(self, function):
        self.function = function

    def __getitem__(self, configuration):
        """Return the function, whatever the grid."""
        return self.function


def double(x, y, n_runs):
    y.copy_to_device(2.0 * x.copy_to_host())


def expected(n_runs: int) -> np.ndarray:
    return 2.0 * np.arange(n_runs, dtype=float)[None, :]


def doubling(n_runs: int, function=double) -> Work:
    """Return work with one input and one output, so that each stage is one operation."""
    kernel = PlainKernel(function)

    def launch(device, arrays, n):
        device.launch(kernel, n, (arrays["x"], arrays["y"], n))

    x = np.arange(n_runs, dtype=float)[None, :]
    return Work(launch, {"x": x}, {"y": np.full((1, n_runs), np.nan)})


def make_kernel(device, chunks: int, depth: Depth, patience: float = 60.0, pinned=None) -> BatchKernel:
    memory = MemoryManager(Chunks(chunks), pinned)
    return BatchKernel(device, memory, WritebackWatcher("double", patience, device.clock), patience, depth)


def makespan(h, k, d, w, depth: Depth, chunks: int) -> float:
    """Return when the last chunk is home, chunk by chunk from what each one waits for."""
    sets, copies, writers = depth.sets, depth.copies, depth.writers
    up, run, down, home = [], [], [], []
    for i in range(chunks):
        up.append(max([0.0, *up[-1:], *run[i - sets : i - sets + 1][: i >= sets]]) + h)
        run.append(max([up[i], *run[-1:], *down[i - sets : i - sets + 1][: i >= sets]]) + k)
        down.append(max([run[i], *down[-1:], *home[i - copies : i - copies + 1][: i >= copies]]) + d)
        home.append(max([down[i], *home[i - writers : i - writers + 1][: i >= writers]]) + w)
    return home[-1]


def rehearse(latency: Latency, depth: Depth, chunks: int, clock):
    """Run the pipeline in virtual time; return its statistics."""
    work = doubling(chunks)
    kernel = make_kernel(VirtualDevice(latency, clock), chunks, depth)
    stats, _ = kernel.run(work)
    kernel.close()
    np.testing.assert_array_equal(work.outputs["y"], expected(chunks))
    return stats
