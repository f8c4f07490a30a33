"""Pinned buffers come back, and results end up in the caller's own memory."""

from __future__ import annotations

import numpy as np
import pytest

from examples.common.lorenz import RUNS, solve_lorenz
from solver import MemoryManager


def test_convert_host_to_numpy_uses_needs_chunked_transfer(chunked_solved_solver):
    for array in chunked_solved_solver.kernel.output_arrays:
        assert array.needs_chunked_transfer
        assert type(array.host) is np.ndarray
        assert array.host.flags.owndata


def test_input_buffers_released_after_kernel(chunked_solved_solver):
    kernel = chunked_solved_solver.kernel
    kernel.wait_for_writeback(timeout=10.0)
    assert not kernel.input_arrays._active_buffers  # noqa: SLF001 - the original's name


def test_output_buffers_released_after_writeback(chunked_solved_solver):
    kernel = chunked_solved_solver.kernel
    kernel.wait_for_writeback(timeout=10.0)
    assert not kernel.output_arrays._active_buffers  # noqa: SLF001 - the original's name


def test_a_limit_that_is_no_amount_is_refused():
    with pytest.raises(ValueError, match="'much' is not an amount"):
        MemoryManager("much")


@pytest.mark.parametrize("name", ["y0", "params"])
def test_inputs_are_cut_along_the_runs(chunked_solved_solver, name):
    array = getattr(chunked_solved_solver.kernel.input_arrays, name)
    assert array.chunked_shape == (3, RUNS // 4)
    assert array.shape == (3, RUNS)


def test_unchunked_arrays_are_moved_whole(unchunked_solved_solver):
    assert not any(array.needs_chunked_transfer for array in unchunked_solved_solver.kernel.input_arrays)


def test_waiting_for_what_is_done_returns_at_once(unchunked_solved_solver):
    unchunked_solved_solver.kernel.wait_for_writeback(timeout=1.0)
    assert not unchunked_solved_solver.kernel.output_arrays._active_buffers  # noqa: SLF001 - the original's name


def test_a_second_solve_uses_the_same_buffers(chunked_solved_solver):
    first = chunked_solved_solver.solution
    second = solve_lorenz(chunked_solved_solver)
    assert second.stats.pinned_bytes == first.stats.pinned_bytes
    np.testing.assert_array_equal(second.ys, first.ys)


def test_the_result_is_a_view_with_the_run_last_in_memory(chunked_solved_solver):
    ys = chunked_solved_solver.solution.ys
    assert ys.base is chunked_solved_solver.kernel.output_arrays.ys.host
    assert ys.strides[0] == ys.itemsize
