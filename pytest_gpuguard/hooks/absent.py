"""Test modules that need a library which works on devices only, where there is neither.

Such a module would end the whole run before it begins. Where there is a device its error stays an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["AbsentLibraries"]

#: Without a device they are of no use, so machines without one do well not to have them.
_DEVICE_ONLY = frozenset(
    {
        *("cucim", "cudf", "cugraph", "cuml", "cupy", "cupyx", "cuquantum", "cuspatial", "cuvs"),
        *("dask_cuda", "dask_cudf", "kvikio", "nvcomp", "pycuda", "pylibcudf", "pylibcugraph"),
        *("pylibraft", "raft_dask", "rmm", "tensorrt"),
    }
)
_MISSING = re.compile(r"No module named '(\w+)[\w.]*'")
_DRIVER = re.compile(r"\b(lib(?:cuda|cudart|nvrtc|nvidia-ml)\.so[.\d]*): cannot open shared object file")


class AbsentLibraries(Plug):
    """Skips what cannot be collected for want of such a library, with the evidence."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.failed and isinstance(collector, pytest.Module):
            self._look(collector, report)
        return report

    def _look(self, module: pytest.Module, report: pytest.CollectReport) -> None:
        # What was raised last is what pytest shows last.
        missing = [name for name in _MISSING.findall(str(report.longrepr)) if name in _DEVICE_ONLY]
        library = missing[-1] if missing else next(iter(_DRIVER.findall(str(report.longrepr))), None)
        if library is None:
            return
        from pytest_gpuguard.devices.modes import mode_here

        mode, evidence = mode_here()
        if mode in {"none", "sim"}:
            reason = f"needs a device, and {library}, which is not here either: mode {mode}, {evidence}"
            report.outcome, report.longrepr = "skipped", (str(module.path), 1, f"Skipped: {reason}")
