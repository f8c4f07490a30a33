"""The solver in a process that a fault leaves unusable, or that must not use CUDA at all."""

from __future__ import annotations

import pytest

pytest.importorskip("nvidia", reason="no CUDA compiler (extra 'compile')")

STICKY = """
    import sys
    from tests.fakecuda.control import Fault, attach
    from tests.fakecuda.kernels import HostKernels
    from solver import Chunks, DeviceError
    from tests.solver.problems import decay_solver, solve_decay, writeback_threads
    driver = attach()
    with HostKernels(driver):
        solver = decay_solver(memory_limit=Chunks(4))
        solve_decay(solver)
        driver.fail(Fault("FAULT", code=719, first=2, sticky=True))
        for act in (lambda: solve_decay(solver), solver.close, solver.close):
            try:
                act()
            except DeviceError as error:
                print(str(error).splitlines()[0])
    print(len(writeback_threads()), driver.sticky)
"""


@pytest.mark.parametrize("fault", ["kernel", "copy", "cuEventQuery", "cuLaunchKernelEx"])
def test_a_device_that_failed_is_told_by_everything_and_waited_for_by_nobody(fake_lane, fault):
    *told, rest = fake_lane.script(STICKY.replace("FAULT", fault)).check().stdout.splitlines()
    assert len(told) == 3
    for line in told:
        assert line.startswith("the device failed: [<CUresult.CUDA_ERROR_LAUNCH_FAILED: 719>]")
        assert line.endswith("its device and pinned memory come back when it ends")
    assert rest == "0 719"


def test_in_a_child_that_was_forked_too_late_the_solver_says_so(fake_lane):
    result = fake_lane.script(
        """
        import os
        from tests.fakecuda.control import attach
        from tests.fakecuda.kernels import HostKernels
        from tests.solver.problems import decay_solver, solve_decay
        with HostKernels(attach()), decay_solver() as solver:
            print(solve_decay(solver).stats.chunks, flush=True)
            if os.fork() == 0:
                try:
                    decay_solver()
                except Exception as error:
                    print(type(error).__name__, error, flush=True)
                os._exit(0)
            os.wait()
        """
    )
    assert result.check().stdout.splitlines() == ["1", "CudaDriverError CUDA initialized before forking"]


def test_without_a_driver_the_solver_says_what_to_do(none_lane):
    result = none_lane.script(
        """
        from tests.solver.problems import decay_solver
        try:
            decay_solver(backend="cuda")
        except RuntimeError as error:
            print(error)
        """
    )
    told = result.check().stdout.strip()
    assert told.startswith("no CUDA device works here (CUDA driver library cannot be found")
    assert told.endswith("set NUMBA_ENABLE_CUDASIM=1 before numba is imported and use 'sim'")
