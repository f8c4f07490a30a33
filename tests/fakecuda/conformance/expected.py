"""Tests of numba-cuda that fail on the fake driver, and why. One that passes is an error as well."""

from __future__ import annotations

__all__ = ["EXPECTED_FAILURES"]

_BARRIER = "The kernel shares memory between the threads of a block; on the host they run one after another."
_LINKED = (
    "The kernel calls a function linked in from CUDA C; there is no Python source of it to run on the host."
)

EXPECTED_FAILURES = {
    "test_cuda_driver.py::TestCudaDriver::test_cuda_core_graph_builder_launch_user_facing": (
        "Stream capture and graphs are not modelled (cuStreamBeginCapture)."
    ),
    "test_cuda_driver.py::TestAcceleratedArchitecture::test_device_arch_specific": (
        "The kernel asks at compile time for its architecture; its Python source, which runs here, cannot."
    ),
    "test_cuda_ndarray.py::TestCudaNDArray::test_devicearray_transpose_T": _BARRIER,
    "test_cuda_ndarray.py::TestCudaNDArray::test_devicearray_transpose_ok": _BARRIER,
    "test_linker.py::TestLinker::test_linking_cu": _LINKED,
    "test_linker.py::TestLinker::test_linking_eager_compile": _LINKED,
    "test_linker.py::TestLinker::test_linking_lazy_compile": _LINKED,
    "test_module_callbacks.py::TestModuleCallbacks::test_decldevice_arg": _LINKED,
    "test_module_callbacks.py::TestModuleCallbacks::test_jitarg": _LINKED,
    "test_nvvm_driver.py::TestNvvmDriver::test_nvvm_support": (
        "No driver call in it: NVVM 13.0, which we pin for its PTX, does not know the newest architectures "
        "that NVRTC 13.5 lists."
    ),
}
