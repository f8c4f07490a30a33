"""Compiled kernels that children share: each program is compiled once, and none is taken for another."""

from __future__ import annotations

import pytest

pytest.importorskip("nvidia", reason="no CUDA compiler (extra 'compile')")

SOLVES = """
    import gc
    import numpy as np
    from numba.cuda.dispatcher import CUDADispatcher
    from tests.fakecuda.control import attach
    from tests.fakecuda.kernels import HostKernels
    from tests.solver.problems import decay_solver, solve_decay

    def solved(method, **options):
        with decay_solver(method=method, **options) as solver:
            return solve_decay(solver).ys

    with HostKernels(attach()):
        for method in METHODS:
            np.testing.assert_allclose(solved(method), solved(method, backend="python"), rtol=1e-13)
        used = [one for one in gc.get_objects() if type(one) is CUDADispatcher and one.overloads]
        print(*(sum(count.total() for count in counts) for counts in zip(
            *((one.stats.cache_hits, one.stats.cache_misses) for one in used))))
"""


def test_a_program_is_compiled_by_the_first_child_that_needs_it_and_no_other_is_taken_for_it(
    fake_lane, tmp_path
):
    def loaded_and_compiled(*methods):
        env = {"FAKECUDA_KERNELS": str(tmp_path / "kernels")}
        told = fake_lane.script(SOLVES.replace("METHODS", repr(methods)), env=env).check().stdout
        return tuple(map(int, told.split()))

    assert loaded_and_compiled("rk4") == (0, 1)
    # As the first of its process it would have the same name as the other.
    assert loaded_and_compiled("heun2") == (0, 1)
    assert loaded_and_compiled("heun2", "rk4") == (2, 0)
    assert loaded_and_compiled("rk4", "bs3") == (1, 1)
